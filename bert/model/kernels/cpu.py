"""What Linux tells of the CPU."""
import platform

CPU_INFO = '/proc/cpuinfo'
# The instruction sets that decide the speed of our commands, by their names in /proc/cpuinfo
VECTOR_FLAGS = {'avx2', 'avx_vnni', 'avx512f', 'avx512_bf16', 'avx512_vnni', 'amx_bf16', 'amx_int8'}


def name():
    return _read('model name') or platform.processor()


def vector_flags():
    """Those of `VECTOR_FLAGS` that this CPU has, sorted."""
    return sorted(VECTOR_FLAGS.intersection(flags()))


def flags():
    """All instruction sets and features of this CPU; [] where the system is not Linux."""
    return (_read('flags') or '').split()


def _read(key):
    """The value of a key, of the first core; None without one."""
    try:
        with open(CPU_INFO, encoding='utf-8') as lines:
            for line in lines:
                if line.split(':')[0].strip() == key:
                    return line.split(':', 1)[1].strip()
    except OSError:
        pass    # not Linux
    return None
