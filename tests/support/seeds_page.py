"""The commands of docs/seeds.rst and the data that they read."""
import pathlib
import re
import shlex

from support import tiny

PAGE = pathlib.Path(__file__).resolve().parents[2] / 'docs' / 'seeds.rst'
EVALUATOR = 'evaluate-v2.0.py'
GENERATOR = 'create_pretraining_data.py'
PRETRAINING, HOROVOD = 'run_pretraining.py', 'run_pretraining_hvd.py'
EMBEDDING = 'bert_embedding/bert.py'        # tested in test_seeds_embedding.py
EXPORT = 'export/export.py'                 # with TUNING: tested in test_seeds_deployment.py
TUNING = ('examples/run_glue_tune.py', 'examples/run_squad_tune.py', 'examples/run_squad.py')


def commands():
    """The console commands of the page: [(environment, script, arguments, text)]."""
    blocks = re.findall(r'\.\. code-block:: console\n\n((?:    .+\n)+)',
                        PAGE.read_text(encoding='utf-8'))
    rows = []
    for line in [line[4:] for block in blocks for line in block.splitlines()]:
        assert line.startswith('$ '), line
        words = shlex.split(line[2:])
        environment = {}
        while '=' in words[0]:
            name, value = words.pop(0).split('=', 1)
            environment[name] = value
        if words[1:3] == ['-m', 'torch.distributed.launch']:
            del words[1:3]
        start = words.index('python')       # behind horovodrun or mpirun, if any
        assert not start or words[0] in ('horovodrun', 'mpirun'), line
        rows.append((environment, words[start + 1], words[start + 2:], line[2:]))
    return rows


ALL_COMMANDS = commands()


def inference(similarity):
    """The label of a natural-language-inference pair."""
    return ('neutral', 'entailment', 'contradiction')[int(similarity * 2.99)]


def binary(similarity):
    return int(similarity > 0.5)


def entailment(similarity):
    return ('not_entailment', 'entailment')[binary(similarity)]


def write_data(folder):
    """Write the files of each task into the folder that its command reads."""
    text_columns = ('sentence1', 'sentence2')
    mrpc_columns = ('#1 String', '#2 String', 'Quality')
    tiny.write_pairs(folder / 'MRPC', mrpc_columns, binary)
    tiny.write_pairs(folder / 'glue_data' / 'MRPC', mrpc_columns, binary)
    tiny.write_sst(folder / 'glue_data' / 'SST-2')
    tiny.write_pairs(folder / 'glue_data' / 'RTE', text_columns + ('label',), entailment)
    tiny.write_pairs(folder / 'glue_data' / 'MNLI', text_columns + ('gold_label',), inference,
                     files={'dev': ['dev_matched.tsv', 'dev_mismatched.tsv'],
                            'test': ['test_matched.tsv', 'test_mismatched.tsv']})
    for version_2 in (False, True):
        for seed, kind in enumerate(('train', 'dev'), 1):
            name = '%s-v%s.json' % (kind, '2.0' if version_2 else '1.1')
            tiny.write_squad(folder / 'squad' / name, 10, seed, version_2)
    tiny.write_pairs(folder / 'baidu_ernie_data' / 'xnli', ('text_a', 'text_b', 'label'),
                     inference)
