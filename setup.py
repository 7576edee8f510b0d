"""Builds the package `bert`: its metadata, the version ranges of its dependencies, its kernels."""
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

ROOT = os.path.dirname(os.path.abspath(__file__))

# Version ranges that fit into a user's own environment. They have no upper bound, and start at a
# release that supports numpy 2 or that was locked before. constraints/ locks the versions that
# ./run and CI install.
#
# mxnet is not in this list: its metadata needs numpy<2 and graphviz<0.9, so pip would find no
# solution. Install it first, without its dependencies: pip install --no-deps mxnet==1.9.1.
INSTALL_REQUIRES = [
    'gluonnlp==0.10.0',     # the last release
    'numpy>=2.0',
    'tokenizers>=0.20',
    'safetensors>=0.5',
    'huggingface_hub>=0.36',
    'matplotlib>=3.9',
    'nltk>=3.9',
    'onnx>=1.17',
    'packaging>=24',        # stands for distutils, which MXNet imports and Python 3.12 dropped
    'pyyaml>=6',
    'requests>=2.32',       # MXNet and gluonnlp need it, too
    'scikit-learn>=1.5',
    'scipy>=1.13',
    'tqdm>=4.67',
]

DASK = ['distributed>=2024.8']

# Runtimes for ONNX files
RUNTIMES = ['onnxruntime>=1.19', 'openvino>=2024.4']

# serve.py. uvicorn is faster with httptools and uvloop. fastapi-offline brings the files of /docs.
SERVE = ['fastapi>=0.115', 'fastapi-offline>=1.7', 'httptools>=0.6', 'orjson>=3.10',
         'prometheus_client>=0.21', 'pydantic>=2.10', 'uvicorn>=0.32', 'uvloop>=0.21']

# The documentation: `./run docs`
DOCS = ['furo>=2024.8.6', 'sphinx>=8.1']

# On a GPU, `mxnet-cu112==1.9.1` or `mxnet-cu117==1.9.1` takes the place of mxnet.
EXTRAS_REQUIRE = {
    # create_pretraining_data.py --engine dask
    'dask': DASK,
    # deploy.py --engine onnxruntime, --engine openvino
    'onnx': RUNTIMES,
    # serve.py
    'serve': SERVE,
    'docs': DOCS,
    'tests': DASK + RUNTIMES + SERVE + DOCS + [
        'pytest',
        'pytest-xdist',
        'clang-format',
        'ruff',
        'setuptools>=77',       # some tests run this file
    ],
}

# The kernels' module of build targets. It is run by its path, because `import bert` needs packages
# that are not installed yet.
KERNELS_FOLDER = os.path.join('bert', 'model', 'kernels')
TARGETS = runpy.run_path(os.path.join(ROOT, KERNELS_FOLDER, 'targets.py'))


def read_text(*names):
    with open(os.path.join(ROOT, *names), encoding='utf-8') as file:
        return file.read()


def kernel_extensions():
    """The libraries of CPU operators, one for each kind of CPU."""
    return [Extension('.'.join(KERNELS_FOLDER.split(os.sep) + [build.name]),
                      sources=source_files('UNITS'), language='c++', optional=True,
                      extra_compile_args=list(TARGETS['COMPILER_FLAGS'] + build.compiler_flags),
                      extra_link_args=list(TARGETS['LINKER_FLAGS']))
            for build in TARGETS['BUILDS']]


def source_files(key):
    """Paths of the source files that targets.py lists under `key`."""
    return [os.path.join(KERNELS_FOLDER, 'source', name) for name in TARGETS[key]]


def bert_version():
    """`bert.__version__`, read from the file because `import bert` needs installed packages."""
    return re.search(r"^__version__ = '(.+)'", read_text('bert', '__init__.py'), re.M).group(1)


def long_description():
    return read_text('README.rst') if os.path.exists(os.path.join(ROOT, 'README.rst')) else ''


class BuildKernels(build_ext):
    """Compiles the CPU kernels, libraries that MXNet loads and Python does not. They are optional:
    without a compiler the build leaves them out, and MXNet's own operators compute."""

    def get_ext_filename(self, fullname):
        return os.path.join(*fullname.split('.')) + '.so'

    def finalize_options(self):
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()     # number of parallel compilations

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
        """Compile the units that are the same in all libraries → paths of their objects."""
        return self.compiler.compile(
            source_files('SHARED_UNITS'), output_dir=self.build_temp, include_dirs=include_dirs,
            macros=[('BUILT_FROM', '"%s"' % TARGETS['fingerprint'](version))],
            extra_postargs=list(TARGETS['COMPILER_FLAGS'] + TARGETS['SHARED_FLAGS']))

    def build_extension(self, ext):
        command = copy.copy(self)   # builds run in parallel, each with a folder for its objects
        command.build_temp = os.path.join(self.build_temp, ext.name)
        super(BuildKernels, command).build_extension(ext)

    def get_export_symbols(self, ext):
        return []       # there is no PyInit function


def mxnet_folder():
    """Path of the package mxnet, or None. While pip builds, `sys.path` lacks the packages of the
    environment that pip installs into, so this function looks there, too."""
    for folder in sys.path + [sysconfig.get_path('purelib')]:
        if os.path.exists(os.path.join(folder, 'mxnet', 'libinfo.py')):
            return os.path.join(folder, 'mxnet')
    return None


def mxnet_version(folder):
    """Version of the package mxnet in `folder`, read from a file: its import takes seconds."""
    with open(os.path.join(folder, 'libinfo.py'), encoding='utf-8') as file:
        return re.search('__version__ = [\'"](.+)[\'"]', file.read()).group(1)


class BuildPy(build_py):
    """Puts bert_mxnet_compat.pth beside the package bert, because Python looks for .pth files there
    and not inside it. An editable install copies no modules, but it needs this file."""

    def run(self):
        super().run()
        site_packages = (self.get_finalized_command('install').install_lib if self.editable_mode
                         else self.build_lib)
        self.copy_file(os.path.join('bert', 'bert_mxnet_compat.pth'), site_packages)


setup(
    name='bert',
    version=bert_version(),
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
    # With `package_dir`, setuptools makes the editable install by a plain entry in a .pth file.
    # Without it, setuptools writes an import hook, which slows every start of Python.
    package_dir={'': '.'},
    packages=find_packages(include=['bert', 'bert.*']),
    # bert_embedding is not a package, only the folder of a script
    package_data={'': ['*.json', '*.txt'], 'bert': ['bert_embedding/bert.py'],
                  'bert.model.kernels': ['source/*.h', 'source/*.cc'],
                  'bert.serving': ['page/*']},
    ext_modules=kernel_extensions(),
    cmdclass={'build_py': BuildPy, 'build_ext': BuildKernels},
    zip_safe=False,
)
