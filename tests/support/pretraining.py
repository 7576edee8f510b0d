"""Helpers of the pre-training tests: the tiny model's sizes, flags, and readers of results."""
import json
import pathlib
import re

import mxnet as mx

from bert import run_pretraining

SIZES = dict(num_layers=2, units=8, hidden_size=16, num_heads=2, max_length=40)


def flags(folder, *more_flags, steps=12):
    """Flags for `steps` steps on the data in `folder`, which is the fixture `dataset`."""
    size = [] if '--total_batch_size' in more_flags else ['--batch_size', 8]
    return size + ['--data', folder / 'out' / '*.npz', '--bert_config', folder / 'sizes.json',
                   '--dataset_name', folder / 'vocab.txt', '--num_steps', steps, '--lr', 1e-2,
                   '--warmup_ratio', 0.2, '--log_interval', 3, '--threads', 1,
                   '--num_buckets', 3] + list(more_flags)


def pretrain(call, *arguments):
    outcome = call(run_pretraining, *arguments)
    assert outcome.code == 0, outcome.err
    return outcome


def parameters(folder):
    """{name: array} of the newest checkpoint in a run's folder."""
    path, = pathlib.Path(folder).glob('step-*/model.params')
    return {name: array.asnumpy() for name, array in mx.nd.load(str(path)).items()}


def results(folder):
    return json.loads((pathlib.Path(folder) / 'results.json').read_text())


def evaluation(outcome):
    """[(mlm_loss, mlm_acc, nsp_loss, nsp_acc)] in the log."""
    return [tuple(map(float, values)) for values in re.findall(
        r'Eval mlm_loss=(.+)\tmlm_acc=(.+)\tnsp_loss=(.+)\tnsp_acc=(.+)', outcome.err)]
