"""NumPy files larger than memory, allocated on disk or written in blocks."""
import io
import os
import zipfile

import numpy as np

from bert import files


def npy_header(shape, dtype):
    """The bytes before the data in an .npy file of this shape and dtype."""
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {
        'descr': np.lib.format.dtype_to_descr(np.dtype(dtype)), 'fortran_order': False,
        'shape': tuple(shape)})
    return out.getvalue()


def num_bytes(shape, dtype):
    """Size of the data in bytes."""
    return int(np.prod(shape, dtype='int64')) * np.dtype(dtype).itemsize


def allocate(path, shape, dtype):
    """Create an .npy file of zeros and reserve its space on disk, because writes to mapped memory
    can't report a full disk later. Raises `UserError` when the disk refuses."""
    first_bytes = npy_header(shape, dtype)
    with files.atomic_write(path, 'wb') as out:
        out.write(first_bytes)
        out.flush()
        os.posix_fallocate(out.fileno(), len(first_bytes), num_bytes(shape, dtype))


def is_complete_npy(path, shape, dtype):
    """Whether the file is a whole .npy of this shape and dtype, judged by its header and size."""
    first_bytes = npy_header(shape, dtype)
    try:
        with open(path, 'rb') as file:
            return file.read(len(first_bytes)) == first_bytes and \
                os.path.getsize(path) == len(first_bytes) + num_bytes(shape, dtype)
    except OSError:
        return False


def write_rows(path, start, rows):
    """Write `rows` into an existing .npy file, from its row `start` on."""
    array = np.lib.format.open_memmap(path, 'r+')
    array[start:start + len(rows)] = rows
    array.flush()


def write_archive(path, arrays):
    """Write an .npz file. arrays: {name: (shape, dtype, blocks)}, where `blocks` is an iterable of
    the consecutive parts of the array."""
    with files.atomic_write(path, 'wb') as out, zipfile.ZipFile(out, 'w') as archive:
        for name, (shape, dtype, blocks) in arrays.items():
            with archive.open(zipfile.ZipInfo(name + '.npy'), 'w', force_zip64=True) as entry:
                entry.write(npy_header(shape, dtype))
                for block in blocks:
                    entry.write(np.ascontiguousarray(block, dtype).tobytes())
