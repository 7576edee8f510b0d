"""The picture of the house: which room may import which, and how large its pieces may be."""
import ast
import pathlib
import subprocess
import sys

import pytest
from support.help_pages import help_pages

TESTS = pathlib.Path(__file__).resolve().parent
PACKAGE = TESTS.parent / 'bert'
LONGEST_FUNCTION, LONGEST_FILE = 40, 400        # lines

# {room: the rooms that it imports}, from the cellar up. All import BASE and flags, and jobs what
# lies below jobs.
ROOMS = {
    'flags': '',
    'data.arrays': '',
    'data.text': 'data.arrays',
    'data.glue': 'data.text',
    'data.squad': 'data data.arrays data.text',
    'data.pretraining': 'data.arrays data.text',
    'data': 'data.glue data.squad data.text',
    'model.kernels': '',
    'model.weights': 'model',
    'model': 'model.kernels model.weights',
    'train': '',
    'quantization': '',
    'export': '',
    'pipelines': 'data data.glue data.squad data.text export model model.kernels model.weights '
                 'train',
    'jobs.runs': '',
    'jobs.embedding': 'jobs.runs',
    'jobs.pretraining': 'jobs.runs',
    'jobs.prediction': 'jobs.runs',
    'jobs.exporting': 'jobs.runs',
    'jobs.int8': 'jobs.runs',
    'jobs.finetuning': 'jobs.int8 jobs.runs',
    'jobs': 'jobs.finetuning jobs.int8 jobs.runs',
}
BASE = {'__init__', '_compat', 'downloads', 'errors', 'file_names', 'files', 'graph_names',
        'vocabulary'}


def module_of(path):
    parts = ('bert',) + path.relative_to(PACKAGE).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


MODULES = {module_of(path): path for path in sorted(PACKAGE.rglob('*.py'))}


def is_script(name):
    return "\nif __name__ == '__main__':" in MODULES[name].read_text(encoding='utf-8')


def room_of(name):
    """The room of a module, such as 'data.squad'; 'base', or 'script' for what nobody imports."""
    if is_script(name):
        return 'script'     # also bert/export/export.py
    room = '.'.join(name.split('.')[1:] if name.endswith('__init__') or MODULES[name].stem ==
                    '__init__' else name.split('.')[1:-1])
    return room or 'base'


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


ROOM_GRAPH = {}     # {room: {room that it imports: an import that shows it}}
for importer in GRAPH:
    for imported in GRAPH[importer]:
        ROOM_GRAPH.setdefault(room_of(importer), {})[room_of(imported)] = (importer, imported)


def test_the_picture_has_all_rooms():
    folders = {'.'.join(path.parent.relative_to(PACKAGE).parts)
               for path in PACKAGE.rglob('__init__.py')} - {''}
    assert folders == set(ROOMS)
    assert {path.stem for path in PACKAGE.glob('*.py')
            if not is_script(module_of(path))} == BASE


@pytest.mark.parametrize('room', ROOMS)
def test_a_room_imports_what_the_picture_shows(room):
    allowed = set(ROOMS[room].split())
    free = {'base', 'flags', room}
    if room.startswith('jobs'):
        free |= {below for below in ROOMS if not below.startswith('jobs')}
    found = {imported: example for imported, example in ROOM_GRAPH.get(room, {}).items()
             if imported not in free}
    for imported, example in found.items():
        assert imported in allowed, '%s may not import %s' % example
    assert allowed == set(found), 'the picture shows imports that nobody needs'


def test_nobody_imports_a_script_and_the_base_imports_no_room():
    for room, imported in ROOM_GRAPH.items():
        assert 'script' not in imported or room == 'script', imported['script']
    assert set(ROOM_GRAPH['base']) <= {'base'}


def test_scripts_are_doors():
    """A script imports flags and jobs, or pipelines: never what they are made of."""
    for name in filter(is_script, GRAPH):
        rooms = {room_of(imported) for imported in GRAPH[name]}
        assert len(GRAPH[name]) <= 6, '%s does too much: %s' % (name, GRAPH[name])
        assert not {room for room in rooms if room.startswith(('data', 'model', 'train'))} or \
            not any(room.startswith('jobs') for room in rooms), \
            '%s imports a job and goes past it: %s' % (name, GRAPH[name])


def lengths(path):
    """(lines of a file, {its function: lines})"""
    text = path.read_text(encoding='utf-8')
    return len(text.splitlines()), {
        node.name: node.end_lineno - node.lineno + 1 for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize('name', GRAPH)
def test_pieces_are_short(name):
    lines, functions = lengths(MODULES[name])
    assert lines <= LONGEST_FILE
    assert not {function: length for function, length in functions.items()
                if length > LONGEST_FUNCTION}


def test_public_names_are_unique():
    """Whoever searches for a function or a class lands at its definition. All scripts have a `main`
    and a `make_parser`."""
    places = {}
    for name, path in MODULES.items():
        for node in ast.parse(path.read_text(encoding='utf-8')).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith('_'):
                places.setdefault(node.name, []).append(name)
    assert places['UserError'] == ['bert.errors']
    assert {name for name, modules in places.items() if len(modules) > 1} == {'main', 'make_parser'}


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
    """`python bert/script.py` puts bert/ first on the path: a bert/tokenizers.py would then be
    what `import tokenizers` finds."""
    names = {path.stem for folder in (PACKAGE, PACKAGE / 'export') for path in folder.glob('*.py')}
    names |= {path.parent.name for path in PACKAGE.glob('*/__init__.py')}
    names = {name for name in names if name.isidentifier()} - {'__init__'}
    assert 'finetune_classifier' in names
    code = ('import importlib.util\n'
            'print([name for name in %r if importlib.util.find_spec(name)])' % sorted(names))
    assert ast.literal_eval(run_python(code, '-I')) == []
