"""Name and instruction sets of the CPU, as Linux reports them."""
import platform

CPU_INFO = '/proc/cpuinfo'
# The instruction sets that determine the speed of our commands, as /proc/cpuinfo names them
VECTOR_FLAGS = {'avx2', 'avx_vnni', 'avx512f', 'avx512_bf16', 'avx512_vnni', 'amx_bf16', 'amx_int8'}


def name():
    """The model name of this CPU, or what Python's platform module returns if there is none."""
    return _read('model name') or platform.processor()


def vector_flags():
    """The members of `VECTOR_FLAGS` that this CPU has, sorted."""
    return sorted(VECTOR_FLAGS.intersection(flags()))


def flags():
    """All instruction sets and features of this CPU; [] where the system is not Linux."""
    return (_read('flags') or '').split()


def _read(key):
    """The value of a key for the first core, or None when there is none."""
    try:
        with open(CPU_INFO, encoding='utf-8') as file:
            for line in file:
                if line.split(':')[0].strip() == key:
                    return line.split(':', 1)[1].strip()
    except OSError:
        pass    # not Linux
    return None
