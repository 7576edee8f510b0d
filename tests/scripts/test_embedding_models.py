"""Folders of sentence-transformers with embedding.py, convert_checkpoint.py and fine-tuning."""
import json
import os

import numpy as np
import pytest
from support import tiny
from support.sentence_folders import dense_arrays, new_pooling, old_pooling, write_folder

from bert import convert_checkpoint, finetune_classifier
from bert import embedding as script
from bert.pipelines.embedder import Embedder
from bert.pipelines.pooling import similarity

TEXTS = [text for text, _ in tiny.sentences(9, 5)] + ['so ' * 30]
SENTENCE_FILES = {'modules.json', '1_Pooling', 'sentence_bert_config.json',
                  'config_sentence_transformers.json'}
PROMPTS = {'query': 'so very ', 'document': 'the film '}


@pytest.fixture
def model(in_tmp):
    """A folder with everything: poolings, two layers, a length, prompts, a similarity."""
    (in_tmp / 'texts.txt').write_text('\n'.join(TEXTS) + '\n')
    return write_folder(
        in_tmp / 'm', modules=('Pooling', 'Dense', 'Normalize', 'Dense'),
        pooling=new_pooling('mean', 'max', include_prompt=False), length={'max_seq_length': 9},
        settings={'prompts': PROMPTS, 'similarity_fn_name': 'manhattan'}, dense=[
            ({'in_features': 16, 'out_features': 6, 'use_residual': True,
              'activation_function': 'torch.nn.modules.linear.Identity'},
             dense_arrays(16, 6, residual=True)),
            ({'in_features': 6, 'out_features': 5, 'bias': False},
             dense_arrays(6, 5, bias=False))])


def run(call, *arguments):
    outcome = call(*arguments)
    assert outcome.code == 0, outcome.err
    return outcome


def read_json(path):
    with open(path, encoding='utf-8') as file:
        return json.load(file)


def embed(call, path, *flags):
    return run(call, script, '--bert_checkpoint', path, '--granularity', 'sentence', '--file',
               'texts.txt', *flags)


# ---- embedding.py


def test_a_file_and_its_report(call, model):
    outcome = embed(call, model, '--output', 'out.npy')
    vectors = np.load('out.npy')
    assert vectors.shape == (10, 5)
    np.testing.assert_allclose(vectors, Embedder(model)(TEXTS), atol=1e-6)
    report = read_json('out.npy.json')
    options = report['options']
    assert (options['pooling'], options['normalize'], options['dimensions'], options['prompt'],
            options['max_seq_length']) == (['mean', 'max'], False, None, '', 9)
    assert report['similarity'] == 'manhattan' and report['width'] == 5
    line = (model + ': pooling mean + max, 2_Dense 16 → 6 Identity, normalised, 4_Dense 6 → 5 '
                    'Tanh, not normalised, 9 tokens, read from its modules.json')
    assert outcome.err.count(line) == 1
    assert '3 of 10 texts were cut at 9 tokens' in outcome.err


def test_flags_come_first(call, model):
    embed(call, model, '--pooling', 'cls', 'weightedmean', '--normalize', '--max_seq_length', 12,
          '--dimensions', 3, '--prompt_name', 'document', '--output', 'out.npy',
          '--num_workers', 2)
    expected = Embedder(model, pooling=('cls', 'weightedmean'), normalize=True, max_tokens=12,
                        dimensions=3, prompt='the film ')(TEXTS)
    np.testing.assert_allclose(np.load('out.npy'), expected, atol=1e-6)
    options = read_json('out.npy.json')['options']
    assert (options['pooling'], options['normalize'], options['dimensions'], options['prompt'],
            options['prompt_name'], options['max_seq_length']) == (
        ['cls', 'weightedmean'], True, 3, 'the film ', None, 12)


def test_texts_on_the_terminal(call, model):
    outcome = run(call, script, '--bert_checkpoint', model, '--granularity', 'sentence',
                  '--sentences', 'so good', '--prompt', 'it\n')
    values = outcome.out.split('array(')[1].partition(']')[0] + ']'
    np.testing.assert_allclose(json.loads(values), Embedder(model, prompt='it\n')('so good'),
                               atol=1e-6)
    assert 'prompt "it\\n", read from its modules.json, except prompt' in outcome.err


def test_words_say_nothing_of_the_modules(call, model):
    outcome = run(call, script, '--bert_checkpoint', model, '--sentences', 'so good')
    assert 'modules.json' not in outcome.err and outcome.out.count('array(') == 2


def test_a_search_has_the_prompt_for_queries_and_the_similarity(call, model):
    embed(call, model, '--prompt_name', 'document', '--output', 'out.npy')
    embedder = Embedder(model)
    for flags, prompt in (((), 'so very '), (('--prompt', 'it was '), 'it was '),
                          (('--prompt', ''), ''), (('--prompt_name', 'document'), 'the film ')):
        outcome = run(call, script, '--query', 'bad film', '--index', 'out.npy', '--top_k', 10,
                      *flags)
        scores, = similarity(Embedder(model, prompt=prompt)(['bad film']),
                             embedder.encode_document(TEXTS), 'manhattan')
        lines = [line.split('\t') for line in outcome.out.splitlines()[1:]]
        order = np.argsort(-scores, kind='stable')
        assert [int(number) for _, number, _ in lines] == [i + 1 for i in order]
        np.testing.assert_allclose([float(score) for score, _, _ in lines], scores[order],
                                   atol=1e-4)


def test_queries_without_a_prompt_are_warned_of(call, in_tmp):
    (in_tmp / 'texts.txt').write_text('\n'.join(TEXTS) + '\n')
    path = write_folder(in_tmp / 'm')
    embed(call, path, '--prompt', 'the film ', '--output', 'out.npy')
    search = (script, '--query', 'bad', '--index', 'out.npy')
    assert ('the index was made with the prompt "the film ", but the queries have none: give one '
            "with --prompt, or '' for none") in run(call, *search).err
    for prompt in ('it ', ''):
        assert 'the queries' not in run(call, *search, '--prompt', prompt).err


def test_an_index_of_an_earlier_version(call, tiny_bert, in_tmp):
    (in_tmp / 'texts.txt').write_text('\n'.join(TEXTS) + '\n')
    embed(call, tiny_bert, '--output', 'out.npy')
    search = (script, '--query', 'bad film', '--index', 'out.npy')
    expected = run(call, *search).out
    report = read_json('out.npy.json')
    report['options']['pooling'] = 'mean'
    for name in ('dimensions', 'prompt', 'prompt_name'):
        del report['options'][name]
    del report['similarity']
    (in_tmp / 'out.npy.json').write_text(json.dumps(report))
    assert run(call, *search).out == expected


def test_long_texts_count_with_their_prompt(call, model):
    """9 tokens: the prompt takes 7 of them, beside [CLS] and [SEP]."""
    outcome = call(script, '--bert_checkpoint', model, '--granularity', 'sentence', '--file',
                   'texts.txt', '--long_text', 'error', '--output', 'out.npy', '--prompt',
                   'it ' * 7)
    num_tokens = len(TEXTS[0].split()) + 9
    assert outcome.error.startswith('error: texts.txt: text 0 (from 0): %d tokens, special tokens '
                                    'included, but max_seq_length is 9: ' % num_tokens)
    assert outcome.error.endswith('choose long_text warn or split')


@pytest.mark.parametrize('flags, problem', [
    (['--sentences', 'a', '--prompt', 'x'], '--prompt: it needs --granularity sentence'),
    (['--sentences', 'a', '--dimensions', 2], '--dimensions: it needs --granularity sentence'),
    (['--sentences', 'a', '--granularity', 'sentence', '--prompt', 'x', '--prompt_name', 'y'],
     '--prompt_name and --prompt: give one of the two'),
    (['--query', 'a', '--index', 'x.npy', '--dimensions', 2],
     '--dimensions: leave it out: --query uses that of --index'),
    (['--query', 'a', '--index', 'x.npy', '--normalize'],
     '--normalize: leave it out: --query uses that of --index'),
    (['--sentences', 'a', '--granularity', 'sentence', '--dimensions', 6],
     'dimensions 6: expected from 1 to 5, the numbers in a vector of this model')])
def test_flags_that_make_no_sense(call, model, flags, problem):
    assert call(script, '--bert_checkpoint', model, *flags).error == 'error: ' + problem


def test_a_switch_with_two_flags_from_python(model):
    from bert import jobs
    for keywords, normalize in (({}, False), ({'normalize': True}, True),
                                ({'no_normalize': False}, True), ({'no_normalize': True}, False)):
        report = jobs.embed(file='texts.txt', bert_checkpoint=model, granularity='sentence',
                            output='out.npy', overwrite=True, **keywords).report
        assert report['options']['normalize'] is normalize
        assert report['command'].count('--normalize') == (keywords in (
            {'normalize': True}, {'no_normalize': False}))
        lengths = np.linalg.norm(np.load('out.npy'), axis=1)
        assert (np.abs(lengths - 1) < 1e-5).all() == normalize


# ---- conversions


def test_both_conversions_carry_it(call, model):
    expected = Embedder(model).encode_query(TEXTS)
    outcome = run(call, convert_checkpoint, model, 'gluon')
    assert 'vectors of texts: pooling mean + max, 2_Dense 16 → 6 Identity, ' in outcome.out
    run(call, convert_checkpoint, 'gluon', 'back')
    for folder, weights in (('gluon', {'model.params'}),
                            ('back', {'model.safetensors', 'tokenizer_config.json',
                                      'tokenizer.json'})):
        assert set(os.listdir(folder)) == weights | SENTENCE_FILES | {
            'config.json', 'vocab.txt', 'conversion.json', '2_Dense', '4_Dense'}
        np.testing.assert_allclose(Embedder(folder).encode_query(TEXTS), expected, atol=1e-6)
        report = read_json(folder + '/conversion.json')
        assert report['sentence_model'].endswith('not normalised, 9 tokens')
        assert Embedder(folder).sentence_model.similarity == 'manhattan'
    assert [(module['path'], module['type']) for module in read_json('back/modules.json')] == [
        ('', 'sentence_transformers.models.Transformer'),
        ('1_Pooling', 'sentence_transformers.models.Pooling'),
        ('2_Dense', 'sentence_transformers.models.Dense'),
        ('3_Normalize', 'sentence_transformers.models.Normalize'),
        ('4_Dense', 'sentence_transformers.models.Dense')]
    # an order that the old keys can't say
    assert read_json('back/1_Pooling/config.json') == {
        'embedding_dimension': 8, 'pooling_mode': ['mean', 'max'], 'include_prompt': False}
    run(call, convert_checkpoint, 'back', 'gluon', '--overwrite')
    np.testing.assert_allclose(Embedder('gluon').encode_query(TEXTS), expected, atol=1e-6)


def test_the_keys_that_all_versions_read(call, in_tmp):
    path = write_folder(in_tmp / 'm', pooling=new_pooling('cls', 'lasttoken'),
                        modules=('Pooling', 'Normalize'), settings={'truncate_dim': 7})
    run(call, convert_checkpoint, path, 'back', '--to', 'transformers')
    assert read_json('back/1_Pooling/config.json') == {
        'word_embedding_dimension': 8, 'pooling_mode_cls_token': True,
        'pooling_mode_max_tokens': False, 'pooling_mode_mean_tokens': False,
        'pooling_mode_mean_sqrt_len_tokens': False, 'pooling_mode_weightedmean_tokens': False,
        'pooling_mode_lasttoken': True, 'include_prompt': True}
    assert read_json('back/sentence_bert_config.json') == {
        'max_seq_length': 40, 'do_lower_case': False}
    assert read_json('back/config_sentence_transformers.json') == {
        'prompts': {}, 'default_prompt_name': None, 'similarity_fn_name': 'cosine',
        'truncate_dim': 7}
    np.testing.assert_array_equal(Embedder('back')(TEXTS), Embedder(path)(TEXTS))


def test_a_folder_that_no_conversion_can_carry(call, in_tmp):
    path = write_folder(in_tmp / 'm', modules=('Pooling', 'LSTM'))
    assert call(convert_checkpoint, path, 'gluon').error.startswith(
        'error: %s/modules.json: module 2, 2_LSTM, is a sentence_transformers.models.LSTM; ' % path)
    assert not os.path.exists('gluon')


# ---- fine-tuning


def test_a_run_pools_as_the_model_that_it_starts_from(call, in_tmp, sst):
    path = write_folder(in_tmp / 'm', modules=('Pooling', 'Dense', 'Normalize'),
                        pooling=old_pooling('cls'), length={'max_seq_length': 9},
                        dense=[({'in_features': 8, 'out_features': 3}, dense_arrays(8, 3))])
    flags = ('--task_name', 'SST', '--data_dir', sst, '--max_len', 24, '--output_dir', 'run')
    run(call, finetune_classifier, *flags, '--bert_checkpoint', path, '--epochs', 1)
    newest = 'run/' + read_json('run/checkpoints.json')['newest']
    assert SENTENCE_FILES | {'2_Dense', 'task.json'} <= set(os.listdir(newest))
    vectors = Embedder('run')(TEXTS)
    model = Embedder('run').sentence_model
    assert (model.pooling, model.max_seq_length, model.normalize) == (('cls',), 9, True)
    assert vectors.shape == (10, 3) and np.abs(vectors - Embedder(path)(TEXTS)).max() > 1e-4
    run(call, convert_checkpoint, newest, 'back')
    np.testing.assert_allclose(Embedder('back')(TEXTS), vectors, atol=1e-6)
    # a run that starts from this one; the last checkpoint is written twice
    run(call, finetune_classifier, *flags[:-1], 'next', '--bert_checkpoint', 'run', '--epochs', 2)
    assert Embedder('next')(TEXTS).shape == (10, 3)
