"""The C++ of the kernels: its format, the sanitizers, and the accuracy of its polynomials."""
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from scipy.special import ndtr

from bert.model.kernels import targets

HERE = pathlib.Path(__file__).resolve().parent
BENCHMARKS = HERE.parents[2] / 'benchmarks' / 'kernels'
NUM_CASES = 60      # of random sizes, each in all types


def compile_driver(build, program):
    """Compile the operators without MXNet, with the sanitizers for addresses and for undefined
    behaviour."""
    flags = [flag for flag in targets.COMPILER_FLAGS + build.compiler_flags
             if flag not in ('-O3', '-fPIC')]
    subprocess.run([shutil.which('g++')] + flags + [
        '-O1', '-g1', '-Wall', '-Wextra', '-Werror', '-Wno-uninitialized',
        '-Wno-maybe-uninitialized',     # in the compiler's own headers
        '-fsanitize=address,undefined', '-fno-sanitize-recover=all', '-I', targets.SOURCE_FOLDER,
        str(HERE / 'driver.cc'), '-o', str(program)]
        + [str(pathlib.Path(targets.SOURCE_FOLDER) / name) for name in ('encoder.cc', 'dense.cc')],
        check=True)


def test_format():
    """The files are as `clang-format -i` leaves them, and no line is too long."""
    files = [path for folder in (pathlib.Path(targets.SOURCE_FOLDER), HERE, BENCHMARKS)
             for path in folder.iterdir() if path.suffix in ('.h', '.cc')]
    assert len(files) > len(targets.UNITS + targets.SHARED_UNITS)
    for path in files:      # .clang-format leaves comments as they are
        assert max(map(len, path.read_text(encoding='utf-8').splitlines())) <= 100, path
    program = pathlib.Path(sys.executable).with_name('clang-format')
    process = subprocess.run([program, '--dry-run', '--Werror'] + files, capture_output=True,
                             text=True)
    assert process.returncode == 0, process.stderr


@pytest.mark.compiles
@pytest.mark.parametrize('build', targets.BUILDS, ids=lambda build: build.name)
def test_the_sanitizers_find_nothing(need_cpu_for, build, tmp_path):
    need_cpu_for(build)
    compile_driver(build, tmp_path / 'driver')
    process = subprocess.run([tmp_path / 'driver', '0', str(NUM_CASES), *build.dtypes],
                             capture_output=True, text=True)
    assert (process.returncode, process.stdout) == (0, 'done\n'), process.stderr[-3000:]


def constants(function, file='vectors.h'):
    """The float literals of a function, in the order of the source."""
    text = (pathlib.Path(targets.SOURCE_FOLDER) / file).read_text()
    body = re.search(r'inline Vector %s\(.*?\n}' % function, text, re.S).group()
    return [float(number) for number in re.findall(r'-?\d[\d.]*(?:e-?\d+)?(?=f\b)', body)]


def test_the_polynomial_of_exp2():
    coefficients = constants('exp2')[:6]
    x = np.linspace(-0.5, 0.5, 10001)
    assert np.abs(np.polyval(coefficients, x) / 2 ** x - 1).max() < 2e-7


def test_the_fraction_of_the_normal_cdf():
    values = constants('normal_cdf')
    assert values[:2] == [-5.3, 5.3]
    numerator, denominator = [values[2]] + values[4:9], [values[3]] + values[9:14]
    x = np.linspace(-5.3, 5.3, 10001)
    cdf = 0.5 + x * np.polyval(numerator, x * x) / np.polyval(denominator, x * x)
    assert np.abs(cdf - ndtr(x)).max() < 1e-7
    assert 1 - ndtr(5.3) < 1e-7         # beyond the bound


def test_the_polynomials_of_bfloat16():
    """Their errors are as large as vectors_bfloat16.h says. Computed in float32, as there."""
    x = np.linspace(-0.5, 0.5, 10001, dtype='float32')
    power = np.polyval(np.float32(constants('rough_exp2', 'vectors_bfloat16.h')), x)
    assert np.abs(power / 2 ** x - 1).max() < 1e-4
    x = np.linspace(-200, 200, 400001, dtype='float32')
    density = np.exp(-x * x / 2) / np.sqrt(2 * np.pi)
    for function, limit, expected, factor, bound in (
            ('rough_normal_cdf', 4.0, ndtr(x), x, 2e-4),
            ('rough_gelu_gradient', 4.3, ndtr(x) + x * density, 1, 6e-4)):
        values = np.float32(constants(function, 'vectors_bfloat16.h'))
        argument = np.clip(x, *values[:2])
        assert -argument.min() == argument.max() == np.float32(limit)
        result = np.float32(0.5) + argument * np.polyval(values[2:-1], argument ** 2)
        assert result.dtype == 'float32'
        assert np.abs(factor * (result - expected)).max() < bound, function
