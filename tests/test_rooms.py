"""The imports between the subpackages (the rooms), and the sizes of files and functions."""
import ast
import pathlib
import subprocess
import sys

import pytest
from support.help_pages import help_pages

TESTS = pathlib.Path(__file__).resolve().parent
PACKAGE = TESTS.parent / 'bert'
MAX_FUNCTION_LINES, MAX_FILE_LINES = 40, 400

# {subpackage: the subpackages that it imports}, lower layers first. All may import BASE_MODULES and
# flags; jobs may import every subpackage above them.
SUBPACKAGES = {
    'flags': '',
    'data.arrays': '',
    'data.text': 'data.arrays',
    'data.glue': 'data.text',
    'data.ner': 'data data.text',
    'data.squad': 'data data.arrays data.text',
    'data.pretraining': 'data.arrays data.text',
    'data': 'data.glue data.squad data.text',
    'model.kernels': '',
    'model.weights': 'model',
    'model': 'model.kernels model.weights',
    'train': '',
    'quantization': '',
    'export': '',
    'pipelines': 'data data.glue data.ner data.squad data.text export model model.kernels '
                 'model.weights train',
    'serving.routes': 'pipelines serving',
    'serving': 'model pipelines serving.routes',
    'jobs.runs': '',
    'jobs.embedding': 'jobs.runs',
    'jobs.pretraining': 'jobs.runs',
    'jobs.prediction': 'jobs.exporting jobs.runs',
    'jobs.exporting': 'jobs.runs',
    'jobs.int8': 'jobs.runs',
    'jobs.finetuning': 'jobs.int8 jobs.runs',
    'jobs': 'jobs.finetuning jobs.int8 jobs.runs',
}
BASE_MODULES = {'__init__', '_compat', '_late_imports', 'downloads', 'errors', 'families',
                'file_names', 'files', 'graph_names', 'hub', 'hub_errors', 'hub_files', 'locks',
                'percentiles', 'probabilities', 'streams', 'tokenizer_definitions',
                'torch_library', 'vocabulary'}


def module_name(path):
    parts = ('bert',) + path.relative_to(PACKAGE).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob('*.py'))}


def is_script(name):
    return "\nif __name__ == '__main__':" in MODULES[name].read_text(encoding='utf-8')


def package_of(name):
    """The subpackage of a module, such as 'data.squad'; 'base'; 'script' for an entry script."""
    if is_script(name):
        return 'script'     # also bert/export/export.py
    package = '.'.join(name.split('.')[1:] if name.endswith('__init__') or MODULES[name].stem ==
                       '__init__' else name.split('.')[1:-1])
    return package or 'base'


def imported_names(path):
    """{imported module or name: its module} of all imports of a file, also inside functions."""
    modules = {}
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            modules.update((alias.name, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, '%s: a relative import' % path
            modules.update(('%s.%s' % (node.module, alias.name), node.module)
                           for alias in node.names)
    return modules


def imported_modules(name):
    """The modules of this package that a module imports."""
    modules = {import_name if import_name in MODULES else module
               for import_name, module in imported_names(MODULES[name]).items()}
    return {module for module in modules if module in MODULES} - {name, 'bert'}


GRAPH = {name: imported_modules(name) for name in MODULES}


def test_the_graph_is_read():
    assert 'bert.errors' in GRAPH['bert.data.text.readers']
    assert 'bert.data.transform' in GRAPH['bert.jobs.finetuning.classification']
    assert is_script('bert.finetune_classifier') and not is_script('bert.data.text.readers')


PACKAGE_GRAPH = {}      # {importing subpackage: {imported subpackage: an example}}
for name in GRAPH:
    for imported in GRAPH[name]:
        PACKAGE_GRAPH.setdefault(package_of(name), {})[package_of(imported)] = (name, imported)


def test_all_subpackages_are_listed():
    folders = {'.'.join(path.parent.relative_to(PACKAGE).parts)
               for path in PACKAGE.rglob('__init__.py')} - {''}
    assert folders == set(SUBPACKAGES)
    assert {path.stem for path in PACKAGE.glob('*.py')
            if not is_script(module_name(path))} == BASE_MODULES


@pytest.mark.parametrize('package', SUBPACKAGES)
def test_a_subpackage_imports_only_what_is_listed(package):
    listed_imports = set(SUBPACKAGES[package].split())
    exempt_imports = {'base', 'flags', package}
    if package.startswith('jobs'):
        exempt_imports |= {lower for lower in SUBPACKAGES if not lower.startswith('jobs')}
    imports = {imported: example for imported, example in PACKAGE_GRAPH.get(package, {}).items()
               if imported not in exempt_imports}
    for imported, example in imports.items():
        assert imported in listed_imports, '%s may not import %s' % example
    assert listed_imports == set(imports), 'SUBPACKAGES lists imports that nobody needs'


def test_nobody_imports_a_script_and_the_base_imports_no_subpackage():
    for package, imports in PACKAGE_GRAPH.items():
        assert 'script' not in imports or package == 'script', imports['script']
    assert set(PACKAGE_GRAPH['base']) <= {'base'}


def test_scripts_import_jobs_or_pipelines():
    """A script imports flags and jobs, or pipelines, but not the modules below them."""
    for name in filter(is_script, GRAPH):
        packages = {package_of(imported) for imported in GRAPH[name]}
        assert len(GRAPH[name]) <= 6, '%s does too much: %s' % (name, GRAPH[name])
        assert not {package for package in packages
                    if package.startswith(('data', 'model', 'train'))} or \
            not any(package.startswith('jobs') for package in packages), \
            '%s imports a job and goes past it: %s' % (name, GRAPH[name])


def count_lines(path):
    """(lines of a file, {function in it: its lines})"""
    text = path.read_text(encoding='utf-8')
    return len(text.splitlines()), {
        node.name: node.end_lineno - node.lineno + 1 for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize('name', GRAPH)
def test_files_and_functions_are_short(name):
    lines, functions = count_lines(MODULES[name])
    assert lines <= MAX_FILE_LINES
    assert not {function: length for function, length in functions.items()
                if length > MAX_FUNCTION_LINES}


def test_public_names_are_unique():
    """A search for a function or a class finds one definition. Only `main`, which all scripts
    have, occurs several times."""
    places = {}
    for name, path in MODULES.items():
        for node in ast.parse(path.read_text(encoding='utf-8')).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith('_'):
                places.setdefault(node.name, []).append(name)
    assert places['UserError'] == ['bert.errors']
    assert {name for name, modules in places.items() if len(modules) > 1} == {'main'}


def test_no_cycles():
    visited, path = set(), []

    def visit(name):
        assert name not in path, ' → '.join(path[path.index(name):] + [name])
        if name not in visited:
            path.append(name)
            for imported in sorted(GRAPH[name]):
                visit(imported)
            visited.add(path.pop())
    for name in GRAPH:
        visit(name)


def test_no_file_imports_tests():
    """Helpers of several test files are in tests/support/, or are fixtures of a conftest.py."""
    for path in TESTS.rglob('*.py'):
        modules = {part for name in imported_names(path) for part in name.split('.')}
        assert not [name for name in modules if name.startswith('test_')], path
        assert 'conftest' not in modules, path


# ---- forbidden imports and names

def run_python(code, *flags):
    process = subprocess.run([sys.executable] + list(flags) + ['-c', code], capture_output=True,
                             text=True)
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.mark.parametrize('module', ['bert.flags.common', 'bert.errors', 'bert.files'])
def test_light_modules_need_no_mxnet(module):
    code = 'import sys, %s; print(sorted(sys.modules))' % module
    assert not {'mxnet', 'gluonnlp', 'numpy'} & set(ast.literal_eval(run_python(code)))


SCRIPTS = [name for name in MODULES if is_script(name)]


@pytest.fixture(scope='module')
def pages_without_mxnet():
    return help_pages([MODULES[name] for name in SCRIPTS], missing_modules=('mxnet', 'gluonnlp'))


@pytest.mark.parametrize('script', SCRIPTS)
def test_help_needs_no_mxnet(script, pages_without_mxnet):
    assert pages_without_mxnet[MODULES[script]].startswith('usage: ')


def test_training_needs_no_model_and_no_data():
    code = ('import sys, bert.train.loop, bert.train.step, bert.train.checkpoint\n'
            'print(sorted(name for name in sys.modules if name.startswith("bert.")))')
    assert not [name for name in ast.literal_eval(run_python(code))
                if name.startswith(('bert.model', 'bert.data', 'bert.jobs'))]


def test_no_module_has_the_name_of_a_library():
    """`python bert/script.py` puts bert/ first on the path: `import tokenizers` would then find a
    bert/tokenizers.py."""
    names = {path.stem for folder in (PACKAGE, PACKAGE / 'export') for path in folder.glob('*.py')}
    names |= {path.parent.name for path in PACKAGE.glob('*/__init__.py')}
    names = {name for name in names if name.isidentifier()} - {'__init__'}
    assert 'finetune_classifier' in names
    code = ('import importlib.util\n'
            'print([name for name in %r if importlib.util.find_spec(name)])' % sorted(names))
    assert ast.literal_eval(run_python(code, '-I')) == []
