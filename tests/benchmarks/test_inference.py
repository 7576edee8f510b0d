"""The inference comparisons: shapes, and summaries of times, logits and scores."""
import numpy as np
import pytest

from benchmarks import harness
from benchmarks.inference import exported_models, peer, tuning
from benchmarks.kernels import product_limit
from bert.model.weights import config_files


def answers_of(seconds, logits):
    return [{'seconds': value, 'logits': logits} for value in seconds]


def test_ways_are_compared_round_by_round(capsys):
    assert exported_models.shape('1x16') == {'size': 1, 'length': 16, 'mean': None, 'repeats': 256}
    assert exported_models.shape('64x128')['repeats'] == 3
    ways = exported_models.summarize('2x128', {
        'network': answers_of([4, 8, 4], [[1, 2]]), 'int8': answers_of([2, 2, 1], [[1.5, 1]])})
    assert ways['network']['milliseconds'] == {'median': 4000, 'min': 4000, 'max': 8000}
    assert ways['network']['times_stock_float32'] == {'median': 1, 'min': 1, 'max': 1}
    assert ways['int8']['examples_per_second'] == {'median': 1, 'min': 1, 'max': 2}
    assert ways['int8']['times_stock_float32'] == {'median': 4, 'min': 2, 'max': 4}
    assert (ways['network']['difference'], ways['int8']['difference']) == (0, 1)
    exported_models.print_tables({'2x128': ways})
    row = capsys.readouterr().out.splitlines()[3]
    assert row.split() == ['int8', '2000.0', '1.0', '1.0e+00', '4.00', '(2.00–4.00)']


def test_shares_of_the_limit(capsys):
    config = exported_models.config_of('base')
    ways = exported_models.summarize('2x128', {'fused-int8': answers_of([0.5, 1], [[0]])},
                                     [{'int8': 100, 'float32': 1}, {'int8': 200, 'float32': 1}],
                                     config)
    gigaoperations = product_limit.count_operations(config, [128, 128]) / 1e9
    first, second = gigaoperations / 50, gigaoperations / 200
    assert ways['fused-int8']['share_of_limit'] == pytest.approx(
        {'median': (first + second) / 2, 'min': second, 'max': first})
    exported_models.print_tables({'2x128': ways})
    assert '%.0f' % (100 * (first + second) / 2) in capsys.readouterr().out


def test_mixed_lengths():
    lengths = exported_models.lengths_of('32x53of128')
    assert len(lengths) == 32 and lengths.max() == 128 and 45 < lengths.mean() < 61
    assert exported_models.shape('32x53of128')['mean'] == 53
    token_ids, _, valid_length = harness.random_batch(32, 128, mean=53)
    assert (token_ids != 0).sum() == valid_length.sum() == lengths.sum()


def test_without_the_stock_network_nothing_is_compared(capsys):
    ways = exported_models.summarize('1x16', {'int8': answers_of([2], [[0]])})
    assert set(ways['int8']) == {'milliseconds', 'examples_per_second'}
    exported_models.print_tables({'1x16': ways})
    assert capsys.readouterr().out.splitlines()[2].split() == ['int8', '2000.0', '0.5']


def test_only_float32_must_agree(capsys):
    """Without the stock network, or another way in float32, nothing is compared."""
    rows = {'network': {'difference': 0}, 'fused': {'difference': 9e-5}, 'int8': {'difference': 1}}
    assert exported_models.report_difference({'1x16': rows}) == 0
    rows['torch'] = {'difference': 1e-4}
    assert exported_models.report_difference({'1x16': {}, '1x32': rows}) == 1
    assert '1.0e-04' in capsys.readouterr().out
    assert exported_models.report_difference({'1x16': {'int8': {}, 'fused': {}}}) == 0
    assert 'logits were not compared' in capsys.readouterr().out


# Of the config.json of xlm-roberta-base and distilbert-base-uncased on the hub
XLM_ROBERTA = {'model_type': 'xlm-roberta', 'num_hidden_layers': 12, 'hidden_size': 768,
               'intermediate_size': 3072, 'num_attention_heads': 12, 'vocab_size': 250002,
               'max_position_embeddings': 514, 'type_vocab_size': 1, 'layer_norm_eps': 1e-5,
               'hidden_act': 'gelu', 'pad_token_id': 1}
DISTILBERT = {'model_type': 'distilbert', 'n_layers': 6, 'dim': 768, 'hidden_dim': 3072,
              'n_heads': 12, 'vocab_size': 30522, 'max_position_embeddings': 512,
              'activation': 'gelu', 'pad_token_id': 0}


@pytest.mark.parametrize('model, values', [('xlm-roberta', XLM_ROBERTA),
                                           ('distilbert', DISTILBERT)])
def test_relatives_have_the_sizes_of_their_releases(model, values):
    released = config_files.config_from_transformers(values, 'config.json', cased=False)
    assert exported_models.config_of(model) == released


def test_a_peer_is_given_the_inputs_that_it_has():
    batch = harness.random_batch(2, 8, mean=6)
    inputs = peer.model_inputs(['input_ids', 'attention_mask'], *batch)
    assert list(inputs) == ['input_ids', 'attention_mask']
    np.testing.assert_array_equal(inputs['attention_mask'].sum(axis=1), batch[2])
    assert set(peer.model_inputs(['input_ids', 'token_type_ids'], *batch)) == {
        'input_ids', 'token_type_ids'}


def test_tuned_networks_are_timed_against_the_float_one(capsys):
    searches = {'ours': {'reached': True, 'seconds': 12, 'scores': [0.9, 0.89]},
                'peer': {'reached': False, 'seconds': 5, 'scores': [0.9, 0.8, 0.7]}}
    measurements = {'report': {'float': 0.91, 'ours': 0.88}, 'examples': 50,
                    'seconds': {'1x128': {'float': [4, 6], 'ours': [2, 2]}}}
    sides = tuning.summarize(searches, measurements)
    assert sides['ours']['report'] == 0.88 and sides['peer']['report'] is None
    assert sides['ours']['times_float']['1x128'] == pytest.approx(
        {'median': 2.5, 'min': 2, 'max': 3})
    assert sides['peer']['times_float'] == {}
    tuning.print_results(sides, measurements)
    assert capsys.readouterr().out.splitlines() == [
        'float: 0.9000 to search on, 0.9100 on 50 examples to report',
        'ours: goal reached in 1 trials and 12 s; on the report\'s 0.8800',
        '    1x128: 2.50 (2.00–3.00) times float',
        'peer: goal missed in 2 trials and 5 s']
