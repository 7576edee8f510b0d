"""Imports go down only: scripts, jobs, the rooms (which don't know one another), the base."""
import ast
import pathlib
import subprocess
import sys

import pytest
from support.help_pages import help_pages

TESTS = pathlib.Path(__file__).resolve().parent
PACKAGE = TESTS.parent / 'bert'
ROOMS = ('data', 'model', 'train', 'quantization', 'export')
# floors: a module may import from lower ones, and from its own room
BASE, ROOM, JOBS, SCRIPT = range(4)


def module_of(path):
    parts = ('bert',) + path.relative_to(PACKAGE).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


MODULES = {module_of(path): path for path in sorted(PACKAGE.rglob('*.py'))}


def is_script(name):
    return "\nif __name__ == '__main__':" in MODULES[name].read_text(encoding='utf-8')


def place(name):
    """(floor, room) of a module."""
    room = (name + '.').split('.')[1]
    if is_script(name):
        return SCRIPT, name     # also bert/export/export.py: nobody imports a script
    if room in ROOMS:
        return ROOM, room
    return (JOBS, 'jobs') if room in ('jobs', 'pipelines') else (BASE, 'base')


def imported_names(path):
    """{module, or a name in it: the module} of all imports of a file, also inside functions."""
    found = {}
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            found.update((alias.name, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, '%s: a relative import' % path
            found.update(('%s.%s' % (node.module, alias.name), node.module)
                         for alias in node.names)
    return found


def imports(name):
    """{module of ours that it imports}"""
    found = {inner if inner in MODULES else module
             for inner, module in imported_names(MODULES[name]).items()}
    return {module for module in found if module in MODULES} - {name, 'bert'}


GRAPH = {name: imports(name) for name in MODULES}


def test_the_graph_is_read():
    assert 'bert.errors' in GRAPH['bert.data.text.readers']
    assert 'bert.data.transform' in GRAPH['bert.jobs.finetuning.classification']
    assert is_script('bert.finetune_classifier') and not is_script('bert.data.text.readers')


@pytest.mark.parametrize('name', [name for name in GRAPH if GRAPH[name]])
def test_imports_go_down(name):
    floor, room = place(name)
    for imported in GRAPH[name]:
        below, other = place(imported)
        assert below < floor or (below, other) == (floor, room), \
            '%s may not import %s' % (name, imported)


def test_scripts_are_doors():
    """A script that calls a job leaves the rooms to it."""
    for name in filter(is_script, GRAPH):
        rooms = {imported for imported in GRAPH[name] if place(imported)[0] == ROOM}
        assert len(GRAPH[name]) <= 6, '%s does too much: %s' % (name, GRAPH[name])
        assert not rooms or not any(place(imported)[0] == JOBS for imported in GRAPH[name]), \
            '%s imports a job and goes past it to %s' % (name, rooms)


def test_no_cycles():
    done, path = set(), []

    def visit(name):
        assert name not in path, ' → '.join(path[path.index(name):] + [name])
        if name not in done:
            path.append(name)
            for imported in sorted(GRAPH[name]):
                visit(imported)
            done.add(path.pop())
    for name in GRAPH:
        visit(name)


def test_no_file_imports_tests():
    """What several test files need is in tests/support/, or a fixture of a conftest.py."""
    for path in TESTS.rglob('*.py'):
        modules = {part for name in imported_names(path) for part in name.split('.')}
        assert not [name for name in modules if name.startswith('test_')], path
        assert 'conftest' not in modules, path


# ---- what may not be imported, or be called so

def run_python(code, *flags):
    done = subprocess.run([sys.executable] + list(flags) + ['-c', code], capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize('module', ['bert.flags.common', 'bert.errors', 'bert.files'])
def test_these_need_no_mxnet(module):
    code = 'import sys, %s; print(sorted(sys.modules))' % module
    assert not {'mxnet', 'gluonnlp', 'numpy'} & set(ast.literal_eval(run_python(code)))


SCRIPTS = [name for name in MODULES if is_script(name)]


@pytest.fixture(scope='module')
def pages_without_mxnet():
    return help_pages([MODULES[name] for name in SCRIPTS], without=('mxnet', 'gluonnlp'))


@pytest.mark.parametrize('script', SCRIPTS)
def test_help_needs_no_mxnet(script, pages_without_mxnet):
    assert pages_without_mxnet[MODULES[script]].startswith('usage: ')


def test_training_needs_no_model_and_no_data():
    code = ('import sys, bert.train.loop, bert.train.step, bert.train.checkpoint\n'
            'print(sorted(name for name in sys.modules if name.startswith("bert.")))')
    assert not [name for name in ast.literal_eval(run_python(code))
                if name.startswith(('bert.model', 'bert.data', 'bert.jobs'))]


def test_no_module_has_the_name_of_a_library():
    """`python bert/script.py` puts bert/ first on the path: a bert/tokenizers.py would then be
    what `import tokenizers` finds."""
    names = {path.stem for folder in (PACKAGE, PACKAGE / 'export') for path in folder.glob('*.py')}
    names |= {path.parent.name for path in PACKAGE.glob('*/__init__.py')}
    names = {name for name in names if name.isidentifier()} - {'__init__'}
    assert 'finetune_classifier' in names
    code = ('import importlib.util\n'
            'print([name for name in %r if importlib.util.find_spec(name)])' % sorted(names))
    assert ast.literal_eval(run_python(code, '-I')) == []
