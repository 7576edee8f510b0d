"""The package `bert`, the ranges of what it requires, its kernels."""
import copy
import os
import re
import runpy
import sys
import sysconfig

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.errors import CompileError

HERE = os.path.dirname(os.path.abspath(__file__))

# Ranges that fit into an environment of the user's own: open above, and from a release on that
# supports numpy 2 or was locked before. What ./run and CI install is locked, in constraints/.
#
# mxnet itself is not here: its metadata ask for numpy<2 and graphviz<0.9, so that pip would find
# no solution. It is installed first, without a look at them: pip install --no-deps mxnet==1.9.1.
INSTALL_REQUIRES = [
    'gluonnlp==0.10.0',     # the last release
    'numpy>=2.0',
    # MXNet imports distutils, which Python 3.12 no longer has and setuptools provides.
    'setuptools>=77',
    'tokenizers>=0.20',
    'safetensors>=0.5',
    'huggingface_hub>=0.36',
    'joblib>=1.4',
    'matplotlib>=3.9',
    'nltk>=3.9',
    'onnx>=1.17',
    'pyyaml>=6',
    'requests>=2.32',       # MXNet's and gluonnlp's, too
    'scikit-learn>=1.5',
    'scipy>=1.13',
    'tqdm>=4.67',
]

DASK = ['distributed>=2024.8']

# What runs ONNX files
RUNTIMES = ['onnxruntime>=1.19', 'openvino>=2024.4']

# On a GPU, `mxnet-cu112==1.9.1` or `mxnet-cu117==1.9.1` takes the place of mxnet.
EXTRAS_REQUIRE = {
    # create_pretraining_data.py --engine dask
    'dask': DASK,
    # deploy.py --engine onnxruntime, --engine openvino
    'onnx': RUNTIMES,
    'tests': DASK + RUNTIMES + [
        'pytest',
        'pytest-xdist',
        'clang-format',
        'ruff',
    ],
}

# Its module, run by its path: what `bert` imports is not installed yet.
KERNELS_FOLDER = os.path.join('bert', 'model', 'kernels')
KERNELS = runpy.run_path(os.path.join(HERE, KERNELS_FOLDER, 'targets.py'))


def read(*names):
    with open(os.path.join(HERE, *names), encoding='utf-8') as file:
        return file.read()


def kernels():
    """The libraries of CPU operators, one for each kind of CPU."""
    return [Extension('.'.join(KERNELS_FOLDER.split(os.sep) + [build.name]),
                      sources=source_files('UNITS'), language='c++', optional=True,
                      extra_compile_args=list(KERNELS['COMPILER_FLAGS'] + build.compiler_flags),
                      extra_link_args=list(KERNELS['LINKER_FLAGS']))
            for build in KERNELS['BUILDS']]


def source_files(which):
    return [os.path.join(KERNELS_FOLDER, 'source', name) for name in KERNELS[which]]


def version():
    """`bert.__version__`, read and not imported: what bert imports is not installed yet."""
    return re.search(r"^__version__ = '(.+)'", read('bert', '__init__.py'), re.M).group(1)


def long_description():
    return read('README.rst') if os.path.exists(os.path.join(HERE, 'README.rst')) else ''


class BuildKernels(build_ext):
    """Compiles the CPU kernels, a library that MXNet loads and Python doesn't. They are optional:
    without a compiler there are none, and MXNet's own operators compute."""

    def get_ext_filename(self, fullname):
        return os.path.join(*fullname.split('.')) + '.so'

    def finalize_options(self):
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()     # libraries that are compiled at once

    def build_extensions(self):
        folder = mxnet_folder()
        if folder is None:
            self.warn('no mxnet to compile the CPU kernels for: left out')
            return
        include_dirs = [os.path.join(folder, 'include'), os.path.join(folder, 'src')]
        try:
            shared_objects = self.compile_shared(include_dirs, mxnet_version(folder))
        except CompileError as error:
            self.warn('the CPU kernels are left out: %s' % error)
            return
        for ext in self.extensions:
            ext.include_dirs += include_dirs
            ext.extra_objects += shared_objects
        self.force = True       # setuptools knows nothing of the headers
        super().build_extensions()

    def compile_shared(self, include_dirs, version):
        """The objects that are the same in all libraries."""
        return self.compiler.compile(
            source_files('SHARED_UNITS'), output_dir=self.build_temp, include_dirs=include_dirs,
            macros=[('BUILT_FROM', '"%s"' % KERNELS['fingerprint'](version))],
            extra_postargs=list(KERNELS['COMPILER_FLAGS'] + KERNELS['SHARED_FLAGS']))

    def build_extension(self, ext):
        build = copy.copy(self)     # several run at once, each with a folder for its objects
        build.build_temp = os.path.join(self.build_temp, ext.name)
        super(BuildKernels, build).build_extension(ext)

    def get_export_symbols(self, ext):
        return []       # there is no PyInit function


def mxnet_folder():
    """Path of the package mxnet, or None. pip builds with a path of its own on `sys.path`, which
    lacks what is installed in the environment that it installs into."""
    for folder in sys.path + [sysconfig.get_path('purelib')]:
        if os.path.exists(os.path.join(folder, 'mxnet', 'libinfo.py')):
            return os.path.join(folder, 'mxnet')
    return None


def mxnet_version(folder):
    """The version of the package mxnet in `folder`, read and not imported, which takes seconds."""
    with open(os.path.join(folder, 'libinfo.py'), encoding='utf-8') as file:
        return re.search('__version__ = [\'"](.+)[\'"]', file.read()).group(1)


class BuildPy(build_py):
    """Puts bert_mxnet_compat.pth beside the package bert, where Python looks for .pth files, and
    not into it. An editable install leaves the modules where they are, yet needs that file."""

    def run(self):
        super().run()
        site_packages = (self.get_finalized_command('install').install_lib if self.editable_mode
                         else self.build_lib)
        self.copy_file(os.path.join('bert', 'bert_mxnet_compat.pth'), site_packages)


setup(
    name='bert',
    version=version(),
    description='BERT for Apache MXNet / Gluon: fine-tune, pre-train, embed, quantize, deploy',
    long_description=long_description(),
    long_description_content_type='text/x-rst',
    license='Apache-2.0',
    classifiers=[
        'Operating System :: POSIX :: Linux',
        'Programming Language :: Python :: 3',
    ],
    python_requires='>=3.10,<3.15',
    install_requires=INSTALL_REQUIRES,
    extras_require=EXTRAS_REQUIRE,
    # A plain entry in a .pth file makes the editable install; without `package_dir` setuptools
    # writes an import hook instead, which every start of Python would pay for.
    package_dir={'': '.'},
    packages=find_packages(include=['bert', 'bert.*']),
    # bert_embedding is a folder of a script, no package
    package_data={'': ['*.json', '*.txt'], 'bert': ['bert_embedding/bert.py'],
                  'bert.model.kernels': ['source/*']},
    ext_modules=kernels(),
    cmdclass={'build_py': BuildPy, 'build_ext': BuildKernels},
    zip_safe=False,
)
