"""All commands and snippets of the README and the pages run, with a tiny model and tiny data."""
import dataclasses
import json
import pathlib
import re
import runpy
import shlex
import shutil

import numpy as np
import pytest
from reference import numpy_bert
from reference.hub_server import HubServer, Repository
from support import tiny
from support.cross_encoders import write_cross_encoder
from support.hub_settings import use_hub
from support.pages import commands, read, snippets
from support.processes import spawn
from support.sentence_folders import write_folder

from bert import (
    answer,
    convert_checkpoint,
    create_pretraining_data,
    deploy,
    embedding,
    evaluate_ner,
    finetune_classifier,
    finetune_ner,
    finetune_squad,
    models,
    predict,
    quantize,
    run_glue_tune,
    run_pretraining,
    static_export_squad,
    static_finetune_squad,
)
from bert import hub as hub_module
from bert.data.pretraining.shards import read_shard
from bert.export import export, to_onnx
from bert.model.kernels import library

FIRST_PAGES = ('README.rst', 'docs/start.rst')     # they use the model of the first command
PAGES = [*FIRST_PAGES, 'docs/classification.rst', 'docs/multi_label.rst', 'docs/models.rst',
         'docs/transformers.rst', 'docs/question_answering.rst', 'docs/entities.rst',
         'docs/pretraining.rst', 'docs/embedding.rst', 'docs/fill_mask.rst', 'docs/reranking.rst',
         'docs/deployment.rst', 'docs/tutorial.rst', 'docs/kernels.rst', 'docs/python.rst']
LONG_PAGES = ('docs/pretraining.rst', 'docs/deployment.rst', 'docs/entities.rst',
              'docs/fill_mask.rst', 'docs/multi_label.rst', 'docs/reranking.rst')
SCRIPTS = {'finetune_classifier.py': finetune_classifier, 'predict.py': predict,
           'models.py': models, 'convert_checkpoint.py': convert_checkpoint,
           'finetune_squad.py': finetune_squad, 'answer.py': answer,
           'finetune_ner.py': finetune_ner, 'evaluate_ner.py': evaluate_ner,
           'static_finetune_squad.py': static_finetune_squad,
           'static_export_squad.py': static_export_squad,
           'create_pretraining_data.py': create_pretraining_data,
           'run_pretraining.py': run_pretraining, 'embedding.py': embedding,
           'export/export.py': export, 'export/to_onnx.py': to_onnx, 'deploy.py': deploy,
           'quantize.py': quantize, 'run_glue_tune.py': run_glue_tune}
# scripts that load BERT's weights
BERT_SCRIPTS = ('finetune_classifier.py', 'finetune_ner.py', 'finetune_squad.py',
                'static_finetune_squad.py', 'embedding.py')
# patterns of outputs
PYTHON_OUTPUT = (
    r"([01] [01]\.\d\d\n){2}('.+' \d+ \d+\n){1,2}\(3, 384\) \[\[0\.7 0\.1\]\]\nCounter\({.*}\)\n"
    r"\['accuracy', 'f1'\] output_dir/MRPC-001\n2\n"
    r'unknown argument --epoch\. Did you mean "--epochs"\?\n'
    r'output_dir/MRPC-002\noutput_dir/MRPC-003\n')
ENTITIES_OUTPUT = (
    r"(EntitySpan\(type='\w+', .*\)\n)*\(('[^']+', ){6}'[^']+'\)\n"
    r"\[Entity\(type='PER', start=1, stop=3\), Entity\(type='LOC', start=3, stop=4\)\]\n")
RERANKING_OUTPUT = (r"(RankedDocument\(document=[012], score=\d.*, text='The .*\.'\)\n){2}"
                    r'(Score\(score=\d.*\)\n){2}')
TRANSFORMERS_OUTPUT = ("['a', 'film', 'of', 'quiet', 'wonder', '.'] "
                 '[ 101 1037 2143 1997 4251 4687 1012  102]\n')
EMBEDDING_OUTPUT = ("['the', 'quick', 'fox', 'jumped', 'over', 'it', '.'] 7 (384,)\n"
                    "(3, 384) [[0.7 0.1]]\n(1, 8) (1, 2) ('cls',)\n0 1.00\n1 1.00\n2 1.00\n")
FILL_MASK_OUTPUT = "True True\n['film', 'good']\n['film', 'good']\n"
SCHEDULER = 'tcp://localhost:8786'      # Dask's default port; the tests use another one
SKIPPED_COMMANDS = ['./run tests',      # these tests
                    './run python docs/run_page.py docs/tutorial.rst',      # test_tutorial.py
                    './run dask scheduler', './run dask worker ' + SCHEDULER]   # the fixture


def binary(similarity):
    return int(similarity > 0.3)


def write_mrpc(folder):
    tiny.write_pairs(folder, ('#1 String', '#2 String', 'Quality'), binary,
                     files={'dev': ['dev.tsv'], 'test': ['test.tsv', 'msr_paraphrase_test.txt']})


@pytest.fixture
def workplace(in_tmp, monkeypatch, request):
    """A folder with the files that the pages' commands name."""
    write_mrpc(in_tmp / 'glue_data' / 'MRPC')
    tiny.write_sst(in_tmp / 'glue_data' / 'SST-2')
    tiny.write_pairs(in_tmp / 'glue_data' / 'STS-B', ('sentence1', 'sentence2', 'score'),
                     lambda similarity: 5 * similarity)
    rows = [(text, ('negative', 'positive')[label]) for text, label in tiny.sentences(40, 1)]
    for kind in ('train', 'dev'):
        tiny.write_tsv(in_tmp / 'mxnet' / 'datasets' / 'RottenTomatoes' / (kind + '.tsv'),
                       ('sentence', 'label'), rows)
        (in_tmp / ('%s.csv' % kind)).write_text(
            'review,mood\n' + ''.join('"%s",%s\n' % row for row in rows))
    for seed, name in enumerate(('pairs-train', 'pairs-dev', 'pairs'), 2):
        tiny.write_tsv(in_tmp / (name + '.tsv'), None,
                       [(text, text, label) for text, label in tiny.sentences(20, seed)])
    for seed, name in enumerate(('train-v1.1', 'dev-v1.1', 'train-v2.0', 'threshold', 'dev-v2.0')):
        tiny.write_squad(in_tmp / 'squad' / (name + '.json'), 8, seed, version_2='1.1' not in name)
    for name in ('a.txt', 'b.txt'):
        (in_tmp / name).write_text('it was so very good .\n')
    write_texts(in_tmp)
    if request.node.callspec.params['page'] == 'docs/multi_label.rst':
        write_label_sets(in_tmp)
    (in_tmp / 'texts.txt').write_text(''.join(text + '\n' for text, _ in tiny.sentences(9, 4)))
    for kind in ('train', 'dev'):
        (in_tmp / ('pairs-%s.csv' % kind)).write_text('query,passage,relevance\n' + ''.join(
            'so good,%s,%d\n' % (text, 3 * label) for text, label in tiny.sentences(20, 6)))
    (in_tmp / 'reviews.csv').write_text('review\nso good\n"bad, very"\n')
    write_tagged_files(in_tmp)
    (in_tmp / 'questions.jsonl').write_text('{"question": "was it good", "document": "so good"}\n')
    tensors = {name: array for name, array in numpy_bert.random_tensors(tiny.CONFIG).items()
               if not name.startswith('cls.')}
    tiny.write_transformers(in_tmp / 'hf-model', dict(tensors, **{
        'classifier.weight': np.ones((2, tiny.CONFIG.units), 'float32'),
        'classifier.bias': np.zeros(2, 'float32')}))
    return in_tmp


def write_tagged_files(folder):
    for name, tag in (('gold', 'B-PER'), ('predicted', 'O')):
        (folder / (name + '.conll')).write_text('Peter %s\nsleeps O\n' % tag)
    wnut = folder / 'ner_data' / 'wnut17'
    wnut.mkdir(parents=True)
    for kind in ('train', 'dev', 'test'):
        for path, tag in ((folder / (kind + '.conll'), 'PER'),
                          (wnut / (kind + '.conll'), 'person')):
            path.write_text('good\tB-%s\nfilm\tI-%s\n%s\tO\n\nso\tO\n%s\tO\n\n' % (
                tag, tag, *2 * [{'train': '.', 'dev': 'plot', 'test': 'it'}[kind]]))
    (folder / 'train.jsonl').write_text(
        '{"tokens": ["good", "film"], "ner_tags": ["B-PER", "O"]}\n' * 3)
    (folder / 'reviews.txt').write_text('so good\nthe film\n')


def write_label_sets(folder):
    """Write the files of the page on several labels; they replace those of other pages."""
    rows = tiny.label_sets(20, 1)
    for name in ('comments', 'dev'):
        (folder / (name + '.csv')).write_text('comment,toxic,insult,threat\n' + ''.join(
            '%s,%d,%d,0\n' % (text, 'good' in labels, 'bad' in labels) for text, labels in rows))
    for name in ('topics-train', 'topics-dev'):
        tiny.write_tsv(folder / (name + '.tsv'), ('text', 'topics'),
                       [(text, '|'.join(labels)) for text, labels in rows])
        (folder / (name + '.jsonl')).write_text(''.join(
            json.dumps({'text': text, 'topics': labels}) + '\n' for text, labels in rows))


def write_masked_model(folder):
    """Write a masked language model as wide as the fused operators need. Returns its path."""
    config = dataclasses.replace(tiny.CONFIG, units=32, hidden_size=32, num_heads=1, max_length=64)
    return tiny.write_transformers(folder, numpy_bert.random_tensors(config), config)


def write_texts(folder):
    """Write pre-training texts, a vocabulary, and the sizes that the page shows."""
    page = read('docs/pretraining.rst')
    sizes = re.search(r'^    (\{"num_layers".*\})$', page, re.MULTILINE)
    (folder / 'sizes.json').write_text(sizes.group(1))
    (folder / 'vocab.txt').write_text(''.join(token + '\n' for token in tiny.TOKENS))
    (folder / 'books').mkdir()
    for name in ('books/one.txt', 'books/two.txt', 'news.txt', 'tokens.txt', 'prose.txt'):
        (folder / name).write_text('\n\n'.join(
            '\n'.join(text + ' .' for text, _ in tiny.sentences(5, seed)) for seed in range(3)))


@pytest.fixture(scope='session')
def scheduler():
    """Address of a Dask cluster of two processes."""
    distributed = pytest.importorskip('distributed')
    with distributed.LocalCluster(2, threads_per_worker=1, processes=True,
                                  dashboard_address=None) as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub with the models that the pages name."""
    folders = {'BAAI/bge-small-en-v1.5':
                   write_folder(tmp_path / 'bge', modules=('Pooling', 'Normalize')),
               'google-bert/bert-base-uncased': write_masked_model(tmp_path / 'mlm'),
               'cross-encoder/ms-marco-MiniLM-L6-v2': write_cross_encoder(tmp_path / 'ranker'),
               'dslim/bert-base-NER': tiny.write_tagger(tmp_path / 'tagger'),
               'unitary/toxic-bert': tiny.write_multi_label(tmp_path / 'multi')}
    with HubServer({name: Repository({
            str(path.relative_to(folder)): path.read_bytes()
            for path in pathlib.Path(folder).rglob('*') if path.is_file()})
            for name, folder in folders.items()}) as server:
        use_hub(server, tmp_path, monkeypatch)
        # not in the real cache, which some pages need
        monkeypatch.setattr(hub_module, 'record_path', lambda repository, commit: str(
            tmp_path / 'records' / repository / commit))
        yield server


def run_line(line, call, checkpoint, monkeypatch):
    """Run a command of a page as it stands there, except for the weights and the number of a
    checkpoint → Outcome."""
    words = shlex.split(re.sub(r'(\S+)/step-NUMBER', name_best_step, line))
    while words[0] != './run':
        name, value = words.pop(0).split('=', 1)
        monkeypatch.setenv(name, value)
    script, arguments = words[1], words[2:]
    script += '' if script.endswith('.py') else '.py'
    if script in BERT_SCRIPTS and not {'--resume', '--bert_checkpoint', '--query'} & set(arguments):
        arguments += ['--bert_checkpoint', checkpoint]
        if '--model' in arguments:      # the checkpoint replaces it
            index = arguments.index('--model')
            del arguments[index:index + 2]
    if '--threads' in arguments:    # MXNet takes the number once; the script starts a new process
        monkeypatch.setenv('OMP_NUM_THREADS', arguments[arguments.index('--threads') + 1])
    if script not in SCRIPTS:       # Python can't import a file of that name
        return spawn(script, *arguments)
    return call(SCRIPTS[script], *arguments)


def name_best_step(match):
    """The path of the best checkpoint of the run that a match of a pattern names."""
    run = pathlib.Path(match.group(1))
    return str(run / json.loads((run / 'checkpoints.json').read_text())['best'])


@pytest.fixture(scope='module')
def runs(tmp_path_factory, roomy_bert, sst):
    """A folder with the runs that the pages use: `trained` of SST-2 and `mrpc` of MRPC. The tests
    copy the runs."""
    folder = tmp_path_factory.mktemp('runs')
    finetune_classifier.main(['--bert_checkpoint', roomy_bert, '--task_name', 'SST', '--data_dir',
                              sst, '--output_dir', str(folder / 'trained'), '--epochs', '1'])
    write_mrpc(folder / 'glue_data' / 'MRPC')
    finetune_classifier.main(['--bert_checkpoint', roomy_bert, '--task_name', 'MRPC', '--data_dir',
                              str(folder / 'glue_data'), '--output_dir', str(folder / 'mrpc'),
                              '--max_len', '32'])
    return folder


@pytest.fixture(scope='module')
def shards(tmp_path_factory):
    """A folder with pre-training examples in `out`, and with their texts."""
    folder = tmp_path_factory.mktemp('shards')
    write_texts(folder)
    create_pretraining_data.main([
        '--input_file', str(folder / 'news.txt'), '--vocab', str(folder / 'vocab.txt'),
        '--output_dir', str(folder / 'out'), '--num_workers', '1'])
    return folder


@pytest.mark.parametrize('page', [
    pytest.param(page, marks=[pytest.mark.exhaustive] * (page in LONG_PAGES))
    for page in PAGES if page != 'docs/python.rst'])     # which has no commands
def test_commands(page, call, roomy_bert, workplace, runs, monkeypatch, fast_int8, hub, request):
    if page in ('docs/models.rst', 'docs/pretraining.rst'):     # they need the real cache
        monkeypatch.delenv('MXNET_HOME')
    if page == 'docs/transformers.rst':     # which converts a run of another page
        shutil.copytree(runs / 'trained', 'output_dir/RottenTomatoes-001')
    if page == 'docs/deployment.rst':
        shutil.copytree(runs / 'mrpc', 'output_dir/MRPC-001')
        (workplace / 'pairs.txt').write_text('so good\tvery good\nthe plot\tit was\n')
    lines = commands(page)
    assert lines
    for line in lines:
        if line not in SKIPPED_COMMANDS:
            if line.startswith('./run horovodrun'):
                continue    # test_run_pretraining_hvd.py, test_horovod_finetuning.py
            if line.startswith('./run serve.py'):
                continue    # tests/serving/test_serving_page.py, tests/docs/test_goals.py
            if '--calib_mode fused' in line and not library.load():
                continue    # there are no kernels for this CPU
            if SCHEDULER in line:
                line = line.replace(SCHEDULER, request.getfixturevalue('scheduler'))
            outcome = run_line(line, call, roomy_bert, monkeypatch)
            assert outcome.code == 0, '%s\n%s' % (line, outcome.err)


@pytest.mark.parametrize('page', [
    pytest.param(page, marks=[pytest.mark.exhaustive] * (page == 'docs/python.rst'))
    for page in PAGES if page != 'docs/tutorial.rst'])
def test_snippets(page, in_tmp, tmp_path, capsys, monkeypatch, runs, shards, fast_int8, request):
    monkeypatch.delenv('MXNET_HOME')
    shutil.copytree(shards, in_tmp, dirs_exist_ok=True)
    if page in FIRST_PAGES:
        shutil.copytree(runs / 'trained', 'output_dir/RottenTomatoes-001')
    if page == 'docs/deployment.rst':
        tiny.write_pairs(in_tmp / 'MRPC', ('#1 String', '#2 String', 'Quality'), binary)
        shutil.copytree(runs / 'mrpc', 'output_dir/MRPC-001')
        export.main(['--model_dir', 'output_dir/MRPC-001', '--output_dir', 'mrpc-symbol'])
    if page in ('docs/embedding.rst', 'docs/reranking.rst'):
        request.getfixturevalue('hub')
    if page == 'docs/entities.rst':
        tiny.write_tagger(in_tmp / 'wnut')
    if page == 'docs/multi_label.rst':
        tiny.write_multi_label(in_tmp / 'comments')
    if page == 'docs/fill_mask.rst':
        write_masked_model(in_tmp / 'reviews-bert')
    if page == 'docs/python.rst':
        write_python_page_files(in_tmp, runs)
    capsys.readouterr()
    for i, code in enumerate(snippets(page)):
        path = tmp_path / ('snippet%d.py' % i)
        path.write_text(code, encoding='utf-8')
        runpy.run_path(str(path))
    examples = read_shard('out/part-000.npz')
    output = capsys.readouterr().out
    expected = {'README.rst': 'positive\n(3, 384) [[0.7 0.1]]\n', 'docs/start.rst': 'positive\n',
                'docs/embedding.rst': EMBEDDING_OUTPUT, 'docs/multi_label.rst': 'True\n',
                'docs/fill_mask.rst': FILL_MASK_OUTPUT,
                'docs/deployment.rst': '(1, 2)\nTrue 1 ()\n',
                'docs/kernels.rst': '%s\n' % bool(library.load()),
                'docs/models.rst': '384 30522\n',
                'docs/transformers.rst': TRANSFORMERS_OUTPUT,
                'docs/question_answering.rst': '(2, 64, 2)\n',
                'docs/pretraining.rst': '%d %s %d\n' % (
                    examples.size, examples.input_ids[:examples.token_offsets[1]],
                    examples.next_sentence_labels[0])}
    if page == 'docs/python.rst':       # the runs print some predictions
        output = re.sub(r'\nSome predictions(.*\n)+?What next:\n(  .*\n)+', '', output)
    if page in FIRST_PAGES:     # a tiny classifier has other labels, and guesses
        output = re.sub(r'^[01]\n', 'positive\n', output)
    patterns = {'docs/python.rst': PYTHON_OUTPUT, 'docs/entities.rst': ENTITIES_OUTPUT,
                'docs/reranking.rst': RERANKING_OUTPUT}
    if page in patterns:
        assert re.fullmatch(patterns[page], output), output
    else:
        assert output == expected.get(page, '')


def write_python_page_files(folder, runs):
    """Write the runs and the data that the page on Python names."""
    shutil.copytree(runs / 'trained', 'output_dir/RottenTomatoes-001')
    write_mrpc(folder / 'glue_data' / 'MRPC')
    (folder / 'reviews.txt').write_text('so good\nthe plot\n')
    for seed, kind in enumerate(('train', 'dev')):
        tiny.write_squad(folder / (kind + '.json'), 8, seed)
    tiny.write_checkpoint(folder / 'tiny')
    finetune_squad.main(['--bert_checkpoint', 'tiny', '--train_file', 'train.json', '--dev_file',
                         'dev.json', '--max_seq_length', '30', '--doc_stride', '8',
                         '--max_query_length', '10', '--epochs', '1'])
