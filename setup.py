"""The package `bert`, its pins and extras."""
import importlib.util
import os
import re
import runpy

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

HERE = os.path.dirname(os.path.abspath(__file__))

# Every direct dependency is pinned: MXNet 1.9.1 is the last of its line, and what works beside
# it is known only by trying. These sets were tried on Python 3.8, 3.9, 3.10, 3.11 and 3.12.
INSTALL_REQUIRES = [
    'mxnet==1.9.1',
    'gluonnlp==0.10.0',
    # The newest numpy that MXNet imports with as it is; Python 3.12 needs a newer one,
    # and then bert/_compat.py puts the missing names back.
    'numpy==1.23.5; python_version < "3.12"',
    'numpy==1.26.4; python_version >= "3.12"',
    # MXNet imports distutils, which Python 3.12 no longer has and setuptools provides.
    'setuptools==75.3.2; python_version >= "3.12"',
    'tokenizers==0.20.3',
    'safetensors==0.5.3',
    'huggingface_hub==0.36.0',
    'joblib==1.4.2',
    'matplotlib==3.7.5',
    'nltk==3.9.1',
    'onnx==1.17.0',
    'pyyaml==6.0.3',
    'requests==2.32.4',
    'scikit-learn==1.3.2',
    'scipy==1.10.1; python_version < "3.12"',
    'scipy==1.11.4; python_version >= "3.12"',
    'tqdm==4.67.1',
]

DASK = ['distributed==2023.5.0; python_version < "3.9"',
        'distributed==2024.8.0; python_version >= "3.9"']

# What runs ONNX files: the newest releases with wheels for Python 3.8
RUNTIMES = ['onnxruntime==1.19.2', 'openvino==2024.4.0']

# On a GPU, `mxnet-cu112==1.9.1` or `mxnet-cu117==1.9.1` takes the place of mxnet. It cannot be
# an extra: both fill the same folder, and pip would install the two of them.
EXTRAS_REQUIRE = {
    # create_pretraining_data.py --engine dask
    'dask': DASK,
    # deploy.py --engine onnxruntime, --engine openvino
    'onnx': RUNTIMES,
    'tests': DASK + RUNTIMES + [
        'pytest==8.3.5',
        'clang-format==23.1.5',
        'ruff==0.17.5',
    ],
}

# Its module, run by its path: what `bert` imports is not installed yet.
KERNELS_FOLDER = os.path.join('bert', 'model', 'kernels')
KERNELS = runpy.run_path(os.path.join(HERE, KERNELS_FOLDER, 'sources.py'))


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

    shared_objects = None       # compiled, once for all libraries

    def finalize_options(self):
        super().finalize_options()
        self.parallel = None    # build_extension changes this object

    def build_extension(self, ext):
        mxnet = importlib.util.find_spec('mxnet')
        if mxnet is None:
            self.warn('no mxnet to compile the CPU kernels for: left out')
            return
        folder = os.path.dirname(mxnet.origin)
        ext.include_dirs += [os.path.join(folder, 'include'), os.path.join(folder, 'src')]
        if self.shared_objects is None:
            self.shared_objects = self.compile_shared(ext.include_dirs, mxnet_version(folder))
        ext.extra_objects += self.shared_objects
        self.force = True       # setuptools knows nothing of the headers
        all_temporary = self.build_temp
        self.build_temp = os.path.join(all_temporary, ext.name)
        try:
            super().build_extension(ext)
        finally:
            self.build_temp = all_temporary

    def compile_shared(self, include_dirs, version):
        return self.compiler.compile(
            source_files('SHARED_UNITS'), output_dir=self.build_temp, include_dirs=include_dirs,
            macros=[('BUILT_FROM', '"%s"' % KERNELS['fingerprint'](version))],
            extra_postargs=list(KERNELS['COMPILER_FLAGS'] + KERNELS['SHARED_FLAGS']))

    def get_export_symbols(self, ext):
        return []       # there is no PyInit function


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
        'License :: OSI Approved :: Apache Software License',
        'Operating System :: POSIX :: Linux',
        'Programming Language :: Python :: 3',
    ],
    python_requires='>=3.8,<3.13',
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
