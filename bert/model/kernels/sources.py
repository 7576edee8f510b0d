"""What the operator library is built from, and for which CPU.

setup.py runs it too, when nothing is installed: only the standard library is imported here."""
import hashlib
import os

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'source')
# what is compiled; headers are next to them
UNITS = ('encoder.cc', 'encoder_operator.cc', 'optimizer.cc', 'update_operator.cc', 'library.cc')
LIBRARY = 'avx512_bf16.so'      # beside this file: the only instruction set there is code for

# What `gcc -march=x86-64-v4` takes for granted, and what the code uses beyond that, by the names
# of /proc/cpuinfo. Zen 4, Sapphire Rapids and their successors have all of it.
CPU_FLAGS = ('avx512f', 'avx512bw', 'avx512cd', 'avx512dq', 'avx512vl', 'avx512_bf16',
             'avx512_vnni', 'vaes')
COMPILER_FLAGS = ('-std=c++17', '-O3', '-fPIC', '-fopenmp', '-march=x86-64-v4', '-mavx512bf16',
                  '-mavx512vnni', '-mvaes', '-fno-math-errno', '-fno-trapping-math',
                  '-fno-gnu-unique')
# -Bsymbolic and -fno-gnu-unique: MXNet's own library has classes of the same names (mxnet::ext::…)
# and other insides. Where its symbols are global, as Horovod makes them, ours would be its.
LINKER_FLAGS = ('-fopenmp', '-Wl,--strip-debug', '-Wl,-Bsymbolic')


def fingerprint(mxnet_version):
    """Of all files that are compiled, the flags, and the MXNet they are compiled for."""
    found = hashlib.sha256(repr((COMPILER_FLAGS, LINKER_FLAGS, mxnet_version)).encode())
    for name in sorted(name for name in os.listdir(FOLDER) if name.endswith(('.cc', '.h'))):
        with open(os.path.join(FOLDER, name), 'rb') as file:
            found.update(name.encode() + b'\0' + file.read() + b'\0')
    return found.hexdigest()
