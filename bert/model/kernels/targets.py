"""What the operator libraries are built from, and for which CPUs.

setup.py runs it too, when nothing is installed: only the standard library is imported here."""
import collections
import hashlib
import os

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'source')
# what is compiled for each CPU, and what is the same for all; headers are next to them
UNITS = ('encoder.cc', 'dense.cc', 'optimizer.cc')
SHARED_UNITS = ('encoder_operator.cc', 'dense_operator.cc', 'update_operator.cc', 'library.cc')

# A library: its name (the file's, without .so, beside this one), what the CPU has to have, by the
# names of /proc/cpuinfo, the compiler's names for that, and what its products can multiply.
Build = collections.namedtuple('Build', 'name cpu_flags compiler_flags dtypes')

AVX2_FLAGS = ('avx2', 'bmi1', 'bmi2', 'f16c', 'fma', 'abm', 'movbe', 'aes')
AVX512_FLAGS = AVX2_FLAGS + ('avx512f', 'avx512bw', 'avx512cd', 'avx512dq', 'avx512vl')
AVX512 = ('-march=x86-64-v4', '-maes')
BUILDS = (      # the fastest first
    # AMD Zen 4, Intel Sapphire Rapids and their successors
    Build('avx512_bf16', AVX512_FLAGS + ('avx512_vnni', 'avx512_bf16'),
          AVX512 + ('-mavx512vnni', '-mavx512bf16'), ('float32', 'bfloat16', 'int8')),
    # Intel Cascade Lake, Ice Lake
    Build('avx512_vnni', AVX512_FLAGS + ('avx512_vnni',), AVX512 + ('-mavx512vnni',),
          ('float32', 'int8')),
    # Intel Skylake-X
    Build('avx512', AVX512_FLAGS, AVX512, ('float32', 'int8')),
    # Intel Haswell, AMD Zen and their successors
    Build('avx2', AVX2_FLAGS, ('-march=x86-64-v3', '-maes'), ('float32', 'int8')),
)
SHARED_FLAGS = ('-march=x86-64-v3',)

COMPILER_FLAGS = ('-std=c++17', '-O3', '-fPIC', '-fopenmp', '-fno-math-errno',
                  '-fno-trapping-math', '-fno-gnu-unique')
# -Bsymbolic and -fno-gnu-unique: MXNet's own library has classes of the same names (mxnet::ext::…)
# and other insides. Where its symbols are global, as Horovod makes them, ours would be its.
LINKER_FLAGS = ('-fopenmp', '-Wl,--strip-debug', '-Wl,-Bsymbolic')


def file_of(build):
    """The file name of its library, which stands beside this file."""
    return build.name + '.so'


def fingerprint(mxnet_version):
    """Of all files that are compiled, the flags, and the MXNet they are compiled for."""
    found = hashlib.sha256(repr((BUILDS, SHARED_FLAGS, COMPILER_FLAGS, LINKER_FLAGS,
                                 mxnet_version)).encode())
    for name in sorted(name for name in os.listdir(FOLDER) if name.endswith(('.cc', '.h'))):
        with open(os.path.join(FOLDER, name), 'rb') as file:
            found.update(name.encode() + b'\0' + file.read() + b'\0')
    return found.hexdigest()
