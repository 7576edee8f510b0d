"""Arrays in NumPy's format, larger than memory: room for one on the disk, or written in blocks."""
import io
import os
import zipfile

import numpy as np

from bert import files


def header(shape, dtype):
    """The bytes that an .npy of this array starts with."""
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {
        'descr': np.lib.format.dtype_to_descr(np.dtype(dtype)), 'fortran_order': False,
        'shape': tuple(shape)})
    return out.getvalue()


def size_of(shape, dtype):
    """Bytes of the numbers."""
    return int(np.prod(shape, dtype='int64')) * np.dtype(dtype).itemsize


def allocate(path, shape, dtype):
    """Make an .npy of zeros, with room on the disk: what is mapped into memory can't tell later
    that there is none. Raises `UserError` when the disk refuses."""
    start = header(shape, dtype)
    with files.atomic_write(path, 'wb') as out:
        out.write(start)
        out.flush()
        os.posix_fallocate(out.fileno(), len(start), size_of(shape, dtype))


def is_whole(path, shape, dtype):
    """Whether the file is an .npy of this array, by its header and size."""
    start = header(shape, dtype)
    try:
        with open(path, 'rb') as file:
            return file.read(len(start)) == start and \
                os.path.getsize(path) == len(start) + size_of(shape, dtype)
    except OSError:
        return False


def write_rows(path, first, rows):
    """Write `rows` from row `first` on into an .npy of more."""
    array = np.lib.format.open_memmap(path, 'r+')
    array[first:first + len(rows)] = rows
    array.flush()


def write_archive(path, arrays):
    """Write an .npz. arrays: {name: (shape, dtype, blocks)}, `blocks` an iterable of arrays that
    make it up one after the other."""
    with files.atomic_write(path, 'wb') as out, zipfile.ZipFile(out, 'w') as archive:
        for name, (shape, dtype, blocks) in arrays.items():
            with archive.open(zipfile.ZipInfo(name + '.npy'), 'w', force_zip64=True) as entry:
                entry.write(header(shape, dtype))
                for block in blocks:
                    entry.write(np.ascontiguousarray(block, dtype).tobytes())
