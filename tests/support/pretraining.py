"""What the tests of pre-training share: the tiny model's sizes, flags, and what a run leaves."""
import json
import pathlib
import re

import mxnet as mx

from bert import run_pretraining

SIZES = dict(num_layers=2, units=8, hidden_size=16, num_heads=2, max_length=40)


def flags(made, *more, steps=12):
    size = [] if '--total_batch_size' in more else ['--batch_size', 8]
    return size + ['--data', made / 'out' / '*.npz', '--bert_config', made / 'sizes.json',
                   '--dataset_name', made / 'vocab.txt', '--num_steps', steps, '--lr', 1e-2,
                   '--warmup_ratio', 0.2, '--log_interval', 3, '--threads', 1,
                   '--num_buckets', 3] + list(more)


def trained(call, *arguments):
    outcome = call(run_pretraining, *arguments)
    assert outcome.code == 0, outcome.err
    return outcome


def parameters(folder):
    """{name: array} of the newest checkpoint of a run."""
    path, = pathlib.Path(folder).glob('step-*/model.params')
    return {name: array.asnumpy() for name, array in mx.nd.load(str(path)).items()}


def results(folder):
    return json.loads((pathlib.Path(folder) / 'results.json').read_text())


def evaluation(outcome):
    """[(mlm_loss, mlm_acc, nsp_loss, nsp_acc)] of the log."""
    return [tuple(map(float, found)) for found in re.findall(
        r'Eval mlm_loss=(.+)\tmlm_acc=(.+)\tnsp_loss=(.+)\tnsp_acc=(.+)', outcome.err)]
