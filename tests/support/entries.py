"""What a folder holds, to compare before and after a command."""
import os

# A reader may move the access time, so that it is not among them.
STATE = 'st_mode', 'st_ino', 'st_nlink', 'st_uid', 'st_gid', 'st_size', 'st_mtime_ns', 'st_ctime_ns'


def entries(folder='.'):
    """{name: state of the entry itself, a link is not followed} of a folder."""
    return {entry.name: tuple(getattr(entry.stat(follow_symlinks=False), field) for field in STATE)
            for entry in os.scandir(folder)}
