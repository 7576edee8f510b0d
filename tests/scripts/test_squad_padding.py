"""finetune_squad.py and static_finetune_squad.py learn the same however far windows are padded."""
import numpy as np
import pytest
from support.small_squad import QUICK, read_json, write_files

from bert import finetune_squad, static_finetune_squad


def losses(run):
    checkpoint = read_json(run / 'checkpoints.json')['newest']
    return [entry['loss'] for entry in read_json(run / checkpoint / 'trainer.json')['curve']]


@pytest.mark.parametrize('checkpoint', [
    'tiny_bert', pytest.param('roomy_bert', marks=pytest.mark.exhaustive)])
def test_padding_does_not_change_what_is_learnt(checkpoint, call, in_tmp, request):
    """With MXNet's operators, as tiny_bert is too narrow for others, and with the fused ones."""
    flags = *write_files(in_tmp), '--bert_checkpoint', request.getfixturevalue(checkpoint), \
        *QUICK, '--dropout', 0, '--epochs', 3
    for name, script, more_flags in (('as-they-are', finetune_squad, []),
                                     ('to-32', finetune_squad, ['--round_to', 32]),
                                     ('static', static_finetune_squad, ['--seq_length', 40])):
        outcome = call(script, *flags, '--output_dir', name, *more_flags)
        assert outcome.code == 0, outcome.err
    expected = losses(in_tmp / 'as-they-are')
    assert len(set(expected)) > 5
    for name in ('to-32', 'static'):
        # rounding errors grow from step to step, how fast depends on the CPU
        np.testing.assert_allclose(losses(in_tmp / name)[:6], expected[:6], rtol=1e-5)
        np.testing.assert_allclose(losses(in_tmp / name), expected, rtol=1e-3)
