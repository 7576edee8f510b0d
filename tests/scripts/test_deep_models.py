"""The training scripts with models at least as deep as BERT-base: only these reach MXNet's limits
on the number of arrays."""
import dataclasses
import json

import pytest
from support import tiny
from support.pretraining import SIZES, flags
from support.small_squad import QUICK, write_files

from bert import finetune_classifier, finetune_ner, finetune_squad, run_pretraining

LAYERS = 26     # two more than BERT-large


@pytest.fixture(scope='module')
def deep_bert(tmp_path_factory):
    return tiny.write_checkpoint(tmp_path_factory.mktemp('deep') / 'bert',
                                 dataclasses.replace(tiny.CONFIG, num_layers=LAYERS))


def test_classifier(call, sst, deep_bert, in_tmp):
    outcome = call(finetune_classifier, '--task_name', 'SST', '--data_dir', sst,
                   '--bert_checkpoint', deep_bert, '--max_len', 24, '--epochs', 1, '--threads', 1,
                   '--output_dir', 'run')
    assert outcome.code == 0, outcome.err
    assert (in_tmp / 'run' / 'results.json').exists()


def test_entities(call, deep_bert, in_tmp):
    files = [word for kind in ('train', 'dev') for word in (
        '--%s_file' % kind, tiny.write_conll(in_tmp / kind, tiny.tagged_sentences(8, 1)))]
    outcome = call(finetune_ner, *files, '--bert_checkpoint', deep_bert, '--max_len', 24,
                   '--epochs', 1, '--threads', 1, '--output_dir', 'run')
    assert outcome.code == 0, outcome.err
    assert (in_tmp / 'run' / 'results.json').exists()


def test_question_answering(call, deep_bert, in_tmp):
    outcome = call(finetune_squad, *write_files(in_tmp), '--bert_checkpoint', deep_bert, *QUICK,
                   '--output_dir', 'run')
    assert outcome.code == 0, outcome.err
    assert (in_tmp / 'run' / 'results.json').exists()


@pytest.mark.parametrize('optimizer', ['bertadam', 'lamb', 'adamw'])
def test_pretraining(call, dataset, in_tmp, optimizer):
    (in_tmp / 'deep.json').write_text(json.dumps(dict(SIZES, num_layers=LAYERS)))
    outcome = call(run_pretraining, *flags(dataset, '--bert_config', 'deep.json', '--optimizer',
                                           optimizer, steps=2), '--ckpt_dir', 'ckpt')
    assert outcome.code == 0, outcome.err
    assert (in_tmp / 'ckpt' / 'results.json').exists()
