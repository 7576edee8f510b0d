"""Build targets of the operator libraries: CPUs, sources, compiler flags.

setup.py runs this file before anything is installed, so it imports only the standard library."""
import collections
import hashlib
import os

SOURCE_FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'source')
# files that are compiled for each CPU, and files that are the same for all CPUs
UNITS = ('encoder.cc', 'dense.cc', 'optimizer.cc')
SHARED_UNITS = ('encoder_operator.cc', 'dense_operator.cc', 'update_operator.cc', 'library.cc')

# One library. name: of its file in this folder, without .so; cpu_flags: what the CPU must have, by
# the names in /proc/cpuinfo; compiler_flags: the compiler's options for that; dtypes: types of the
# factors in its matrix products.
Build = collections.namedtuple('Build', 'name cpu_flags compiler_flags dtypes')

AVX2_CPU_FLAGS = ('avx2', 'bmi1', 'bmi2', 'f16c', 'fma', 'abm', 'movbe', 'aes')
AVX512_CPU_FLAGS = AVX2_CPU_FLAGS + ('avx512f', 'avx512bw', 'avx512cd', 'avx512dq', 'avx512vl')
AVX512_OPTIONS = ('-march=x86-64-v4', '-maes')
BUILDS = (      # the fastest first
    # AMD Zen 4, Intel Sapphire Rapids and their successors
    Build('avx512_bf16', AVX512_CPU_FLAGS + ('avx512_vnni', 'avx512_bf16'),
          AVX512_OPTIONS + ('-mavx512vnni', '-mavx512bf16'), ('float32', 'bfloat16', 'int8')),
    # Intel Cascade Lake, Ice Lake
    Build('avx512_vnni', AVX512_CPU_FLAGS + ('avx512_vnni',), AVX512_OPTIONS + ('-mavx512vnni',),
          ('float32', 'int8')),
    # Intel Skylake-X
    Build('avx512', AVX512_CPU_FLAGS, AVX512_OPTIONS, ('float32', 'int8')),
    # Intel Haswell, AMD Zen and their successors
    Build('avx2', AVX2_CPU_FLAGS, ('-march=x86-64-v3', '-maes'), ('float32', 'int8')),
)
SHARED_FLAGS = ('-march=x86-64-v3',)

COMPILER_FLAGS = ('-std=c++17', '-O3', '-fPIC', '-fopenmp', '-fno-math-errno',
                  '-fno-trapping-math', '-fno-gnu-unique')
# -Bsymbolic and -fno-gnu-unique: MXNet's own library has classes of the same names (mxnet::ext::…)
# with other definitions. Where its symbols are global, as with Horovod, ours would resolve to them.
LINKER_FLAGS = ('-fopenmp', '-Wl,--strip-debug', '-Wl,-Bsymbolic')


def file_of(build):
    """The file name of a build's library, which is in the same folder as this file."""
    return build.name + '.so'


def fingerprint(mxnet_version):
    """sha256 over all source files, the flags, and the version of MXNet to compile for."""
    digest = hashlib.sha256(repr((BUILDS, SHARED_FLAGS, COMPILER_FLAGS, LINKER_FLAGS,
                                  mxnet_version)).encode())
    for name in sorted(name for name in os.listdir(SOURCE_FOLDER) if name.endswith(('.cc', '.h'))):
        with open(os.path.join(SOURCE_FOLDER, name), 'rb') as file:
            digest.update(name.encode() + b'\0' + file.read() + b'\0')
    return digest.hexdigest()
