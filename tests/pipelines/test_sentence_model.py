"""Embedding models: what a folder of sentence-transformers says is read, and gives these vectors.
"""
import logging

import numpy as np
import pytest
from reference import numpy_bert, numpy_sentence
from support import tiny
from support.sentence_folders import (
    MODES,
    NEW_TYPE,
    OLD_KEYS,
    OLD_TYPE,
    dense_arrays,
    new_pooling,
    old_pooling,
    write_folder,
    write_json,
)

import bert
from bert.errors import UserError
from bert.pipelines.embedder import Embedder
from bert.pipelines.embedding import BertEmbedding
from bert.pipelines.pooling import similarity
from bert.pipelines.sentence_files import read_sentence_model

TENSORS = numpy_bert.random_tensors(tiny.CONFIG)
IDS = {token: i for i, token in enumerate(tiny.TOKENS)}
TEXTS = ['the film was so good .', 'bad', '', 'it was a very fine plot and so very good']
TANH = 'torch.nn.modules.activation.Tanh'


def states_of(text, limit=40):
    """Vectors of the tokens of a text of whole words, [CLS] and [SEP] included, in float64."""
    tokens = [IDS.get(word, IDS['[UNK]']) for word in text.split()][:limit - 2]
    tokens = [IDS['[CLS]']] + tokens + [IDS['[SEP]']]
    return numpy_bert.hidden_states(TENSORS, tiny.CONFIG, [tokens],
                                    [[0] * len(tokens)])[-1][0].astype('float64')


def pooled(poolings, texts=TEXTS, limit=40, first=0):
    return np.array([numpy_sentence.pool(states_of(text, limit), poolings, first)
                     for text in texts])


def normalized(vectors):
    return np.array([numpy_sentence.normalize(vector) for vector in vectors])


def assert_close(actual, expected):
    assert actual.dtype == np.float32 and actual.shape == np.shape(expected)
    np.testing.assert_allclose(actual, expected, atol=1e-5)


# ---- pooling


@pytest.mark.parametrize('make_pooling, type_name', [(old_pooling, OLD_TYPE),
                                                     (new_pooling, NEW_TYPE)])
@pytest.mark.parametrize('modes', [(mode,) for mode in MODES] + [('max', 'mean'), MODES])
def test_pooling_of_both_generations(tmp_path, make_pooling, type_name, modes):
    path = write_folder(tmp_path / 'm', pooling=make_pooling(*modes), type_name=type_name)
    assert_close(Embedder(path)(TEXTS), pooled(modes))


def test_the_order_of_a_list_is_kept(tmp_path):
    path = write_folder(tmp_path / 'm', pooling=new_pooling('mean', 'cls'))
    assert_close(Embedder(path)(TEXTS), pooled(('mean', 'cls')))


def test_a_folder_that_says_cls_and_8_tokens(tmp_path, caplog):
    """The keys that old folders lack are false; the length is that of the folder; one line says
    what is applied."""
    pooling = {'word_embedding_dimension': 8, 'pooling_mode_cls_token': True,
               'pooling_mode_mean_tokens': False, 'pooling_mode_max_tokens': False}
    path = write_folder(tmp_path / 'm', pooling=pooling,
                        length={'max_seq_length': 8, 'do_lower_case': False})
    with caplog.at_level(logging.INFO):
        embedder = bert.open(path)
        for _ in range(2):
            assert_close(embedder(TEXTS), pooled(('cls',), limit=8))
            assert_close(embedder(TEXTS[0]), pooled(('cls',), limit=8)[0])
    assert [record.getMessage() for record in caplog.records
            if record.levelno == logging.INFO] == [
        path + ': pooling cls, not normalised, 8 tokens, read from its modules.json']
    assert ('1 of 4 texts were cut at 8 tokens, special tokens included; max_tokens=40 reads up to '
            "40; long_text='split' reads whole texts") in caplog.text


def test_arguments_come_first(tmp_path, caplog):
    path = write_folder(tmp_path / 'm', length={'max_seq_length': 8})
    with caplog.at_level(logging.INFO):
        model = Embedder(path, pooling=['mean', 'max'], normalize=True, max_tokens=6)
        assert_close(model(TEXTS), normalized(pooled(('mean', 'max'), limit=6)))
    assert caplog.records[0].getMessage() == (
        path + ': pooling mean + max, normalised, 6 tokens, read from its modules.json, except '
               'normalize, max_seq_length, pooling')
    embedding = BertEmbedding(bert_checkpoint=path)
    assert_close(embedding.sentence(TEXTS), pooled(('cls',), limit=8))
    assert_close(embedding.sentence(TEXTS, 'mean', True, 40), normalized(pooled(('mean',))))
    assert_close(embedding.sentence(TEXTS, ('lasttoken', 'mean'), dimensions=9),
                 pooled(('lasttoken', 'mean'), limit=8)[:, :9])
    assert_close(np.concatenate(list(embedding.sentence_iter(TEXTS, 'max'))),
                 pooled(('max',), limit=8))


def test_without_modules_the_defaults_hold(tmp_path, caplog):
    """Also beside the other files, which sentence-transformers leaves aside, too."""
    path = tiny.write_checkpoint(tmp_path / 'm')
    write_json(tmp_path / 'm' / '1_Pooling' / 'config.json', old_pooling('cls'))
    with caplog.at_level(logging.INFO):
        assert_close(Embedder(path)(TEXTS), normalized(pooled(('mean',))))
        assert_close(Embedder(path, pooling='weightedmean', normalize=False)(TEXTS),
                     pooled(('weightedmean',)))
    assert not caplog.records


def test_vectors_of_words_are_as_ever(tmp_path):
    path = write_folder(tmp_path / 'm', length={'max_seq_length': 4}, modules=('Pooling', 'Dense'),
                        dense=[({'in_features': 8, 'out_features': 3}, dense_arrays(8, 3))])
    (words, vectors), = Embedder(path).words(TEXTS[:1])
    assert words == TEXTS[0].split()
    assert_close(vectors, states_of(TEXTS[0])[1:-1])
    (_, vectors), = BertEmbedding(bert_checkpoint=path)(TEXTS[0])
    assert_close(np.array(vectors), states_of(TEXTS[0])[1:-1])


def test_windows_of_a_long_text(tmp_path):
    """Their pooled vectors are averaged before the layers that follow."""
    arrays = dense_arrays(8, 3)
    path = write_folder(tmp_path / 'm', modules=('Pooling', 'Dense', 'Normalize'),
                        pooling=old_pooling('max'), length={'max_seq_length': 6},
                        dense=[({'in_features': 8, 'out_features': 3}, arrays)])
    words = 'the film was so very good'.split()
    windows = [' '.join(words[i:i + 4]) for i in (0, 2)]
    mean = pooled(('max',), windows).mean(axis=0)
    expected = numpy_sentence.normalize(numpy_sentence.dense(
        mean, arrays['linear.weight'], arrays['linear.bias']))
    assert_close(Embedder(path, long_text='split')([' '.join(words)]), [expected])


# ---- length, case


@pytest.mark.parametrize('length, tokenizer, expected', [
    (None, {}, 40), (None, {'model_max_length': 9}, 9), (None, {'model_max_length': 1e30}, 40),
    ({'max_seq_length': 7}, {'model_max_length': 9}, 7), ({'max_seq_length': 60}, {}, 40),
    ({'max_seq_length': None}, {'model_max_length': 9}, 9),
    ({'transformer_task': 'feature-extraction', 'module_output_name': 'token_embeddings',
      'modality_config': {'text': {'method': 'forward',
                                   'method_output_name': 'last_hidden_state'}},
      'unpad_inputs': False}, {'model_max_length': 9}, 9)])
def test_the_length(tmp_path, length, tokenizer, expected):
    path = write_folder(tmp_path / 'm', length=length)
    write_json(tmp_path / 'm' / 'tokenizer_config.json', dict(tokenizer, do_lower_case=True))
    assert read_sentence_model(path, tiny.CONFIG).max_seq_length == expected
    assert Embedder(path).sentence_model.max_seq_length == expected


def test_older_names_of_the_file_of_the_length(tmp_path):
    path = write_folder(tmp_path / 'm', files={
        'sentence_xlm-roberta_config.json': {'max_seq_length': 11}})
    assert read_sentence_model(path, tiny.CONFIG).max_seq_length == 11


def test_texts_are_lower_cased_for_a_vocabulary_with_case(tmp_path):
    for lower in (True, False):
        path = write_folder(tmp_path / str(lower), length={'do_lower_case': lower})
        write_json(tmp_path / str(lower) / 'tokenizer_config.json', {'do_lower_case': False})
        assert_close(Embedder(path)(['Good FILM']),
                     pooled(('cls',), ['good film' if lower else 'Good FILM']))
    assert Embedder(path).digest() != Embedder(str(tmp_path / 'True')).digest()


# ---- Dense, Normalize


@pytest.mark.parametrize('activation', ['activation.Tanh', 'linear.Identity', 'activation.ReLU',
                                        'activation.GELU', 'activation.Sigmoid',
                                        'activation.SiLU', None])
def test_activations(tmp_path, activation):
    arrays = dense_arrays(8, 5)
    config = {'in_features': 8, 'out_features': 5, 'bias': True}
    if activation:
        config['activation_function'] = 'torch.nn.modules.' + activation
    path = write_folder(tmp_path / 'm', modules=('Pooling', 'Dense'), dense=[(config, arrays)])
    name = activation.rpartition('.')[2] if activation else 'Tanh'
    expected = [numpy_sentence.dense(vector, arrays['linear.weight'], arrays['linear.bias'], name)
                for vector in pooled(('cls',))]
    assert_close(Embedder(path)(TEXTS), expected)


def test_layers_in_any_order(tmp_path):
    """Normalize, a residual through a matrix, one without, no bias, Normalize twice."""
    first, second = dense_arrays(16, 8, residual=True), dense_arrays(8, 8, bias=False, seed=4)
    path = write_folder(
        tmp_path / 'm', modules=('Pooling', 'Normalize', 'Dense', 'Dense', 'Normalize',
                                 'Normalize'),
        pooling=new_pooling('max', 'mean'), dense=[
            ({'in_features': 16, 'out_features': 8, 'use_residual': True,
              'activation_function': TANH}, first),
            ({'in_features': 8, 'out_features': 8, 'use_residual': True, 'bias': False,
              'module_input_name': 'sentence_embedding', 'activation_function': TANH}, second)],
        files={'2_Normalize/config.json': {'module_input_name': 'sentence_embedding'}})
    expected = []
    for vector in normalized(pooled(('max', 'mean'))):
        vector = numpy_sentence.dense(vector, first['linear.weight'], first['linear.bias'],
                                      residual=first['residual.weight'])
        expected.append(numpy_sentence.dense(vector, second['linear.weight'], residual='input'))
    assert_close(Embedder(path)(TEXTS), normalized(expected))
    assert_close(Embedder(path, normalize=False)(TEXTS), expected)
    assert_close(Embedder(path, dimensions=3)(TEXTS), normalized(np.array(expected)[:, :3]))


def test_the_weights_of_layers_count_in_the_digest(tmp_path):
    digests = set()
    for seed in (1, 2):
        path = write_folder(tmp_path / str(seed), modules=('Pooling', 'Dense'), dense=[(
            {'in_features': 8, 'out_features': 3}, dense_arrays(8, 3, seed=seed))])
        digests.add(Embedder(path).digest())
    assert len(digests) == 2


# ---- dimensions, similarity


def test_fewer_dimensions(tmp_path):
    path = write_folder(tmp_path / 'm', modules=('Pooling', 'Normalize'),
                        settings={'truncate_dim': 5})
    vectors = pooled(('cls',))
    assert_close(Embedder(path)(TEXTS), normalized(vectors[:, :5]))
    assert_close(Embedder(path, dimensions=2)(TEXTS), normalized(vectors[:, :2]))
    assert_close(Embedder(path, dimensions=8, normalize=False)(TEXTS), vectors)
    for dimensions in (9, 0, 2.5, True):
        with pytest.raises(UserError, match='^dimensions %s: expected from 1 to 8, the numbers in '
                                            'a vector of this model$' % dimensions):
            Embedder(path, dimensions=dimensions)


A, B = np.array([[3.0, 4.0], [0.0, 2.0]]), np.array([[4.0, 3.0], [-1.0, 0.0], [0.0, 2.0]])


@pytest.mark.parametrize('name, expected', [
    ('cosine', [[0.96, -0.6, 0.8], [0.6, 0, 1]]), ('dot', [[24, -3, 8], [6, 0, 4]]),
    ('euclidean', [[-np.sqrt(2), -np.sqrt(32), -np.sqrt(13)],
                   [-np.sqrt(17), -np.sqrt(5), 0]]),
    ('manhattan', [[-2, -8, -5], [-5, -3, 0]])])
def test_similarities(tmp_path, name, expected):
    assert_close(similarity(A, B, name), np.array(expected))
    path = write_folder(tmp_path / 'm', settings={'similarity_fn_name': name})
    assert_close(Embedder(path).similarity(A, B), np.array(expected))


def test_the_similarity_is_the_cosine_unless_told_otherwise(tmp_path):
    np.testing.assert_array_equal(similarity(A, B), similarity(A, B, 'cosine'))
    path = write_folder(tmp_path / 'm', settings={'similarity_fn_name': None})
    assert Embedder(path).sentence_model.similarity == 'cosine'
    with pytest.raises(UserError, match='^similarity "maxsim": expected one of cosine, dot, '):
        similarity(A, B, 'maxsim')
    with pytest.raises(UserError, match=r'^similarity: arrays of the shapes \(1, 0\) and \(1, 0\)'):
        similarity([], [])


# ---- prompts

PROMPTS = {'query': 'so very ', 'passage': 'the film ', 'corpus': 'plot ', 'x': 'it was '}


def with_prompt(name, texts=TEXTS):
    return pooled(('mean',), [PROMPTS[name] + text for text in texts])


@pytest.fixture
def prompted(tmp_path):
    return write_folder(tmp_path / 'm', pooling=old_pooling('mean'),
                        settings={'prompts': PROMPTS, 'default_prompt_name': 'x'})


def test_which_prompt_is_taken(prompted):
    embedder = Embedder(prompted)
    assert_close(embedder(TEXTS), with_prompt('x'))
    assert_close(embedder.encode_query(TEXTS), with_prompt('query'))
    assert_close(embedder.encode_document(TEXTS), with_prompt('passage'))
    assert_close(embedder.encode_document(TEXTS, 'corpus'), with_prompt('corpus'))
    assert_close(embedder.encode_query(TEXTS, prompt='plot '), with_prompt('corpus'))
    assert_close(embedder.encode_query('good'), with_prompt('query', ['good'])[0])
    assert_close(Embedder(prompted, prompt='')(TEXTS), pooled(('mean',)))
    assert_close(Embedder(prompted, prompt_name='query')(TEXTS), with_prompt('query'))
    embedding = BertEmbedding(bert_checkpoint=prompted)
    assert_close(embedding.sentence(TEXTS), with_prompt('x'))
    assert_close(embedding.sentence(TEXTS, prompt_name='corpus'), with_prompt('corpus'))
    assert_close(embedding.encode_query(TEXTS), with_prompt('query'))


def test_no_prompt_for_queries_is_none(tmp_path):
    """The default prompt is not for queries and documents, as in sentence-transformers."""
    path = write_folder(tmp_path / 'm', settings={'prompts': {'x': 'it was ', 'y': None},
                                                  'default_prompt_name': 'x'})
    embedder = Embedder(path)
    assert_close(embedder(TEXTS), pooled(('cls',), ['it was ' + text for text in TEXTS]))
    for vectors in (embedder.encode_query(TEXTS), embedder.encode_document(TEXTS),
                    Embedder(path, prompt_name='y')(TEXTS)):
        assert_close(vectors, pooled(('cls',)))


@pytest.mark.parametrize('modes', [(mode,) for mode in MODES] + [MODES])
def test_a_prompt_that_is_left_out_of_the_pooling(tmp_path, modes):
    """[CLS] and the two tokens of the prompt don't count, positions do."""
    path = write_folder(tmp_path / 'm', pooling=new_pooling(*modes, include_prompt=False),
                        settings={'prompts': PROMPTS, 'default_prompt_name': 'x'})
    texts = ['it was ' + text for text in TEXTS]
    assert_close(Embedder(path)(TEXTS), pooled(modes, texts, first=3))
    assert_close(Embedder(path, prompt='')(TEXTS), pooled(modes))


def test_a_prompt_that_fills_the_length_leaves_the_last_token(tmp_path):
    path = write_folder(tmp_path / 'm', pooling=old_pooling('mean', include_prompt=False),
                        length={'max_seq_length': 4})
    vector, = Embedder(path, prompt='it was so very ')(['good'])
    assert_close(vector, states_of('it was so', 4)[-1])


def test_a_prompt_in_windows(tmp_path):
    path = write_folder(tmp_path / 'm', pooling=old_pooling('mean', include_prompt=False),
                        length={'max_seq_length': 5})
    vector, = Embedder(path, prompt='it was ', long_text='split')(['so very good'])
    expected = [numpy_sentence.pool(states_of('it was so'), ('mean',), 3),
                numpy_sentence.pool(states_of('was so very'), ('mean',), 2),
                numpy_sentence.pool(states_of('so very good'), ('mean',))]
    assert_close(vector, np.mean(expected, axis=0))


@pytest.mark.parametrize('keywords, problem', [
    ({'prompt_name': 'z'}, 'prompt_name z: the prompts of this model are query, passage, corpus, '
                           'x; give the text of a prompt with --prompt (in Python prompt=)'),
    ({'prompt_name': ['x']}, "prompt_name ['x']: the prompts of this model are query, passage, "
                             'corpus, x; give the text of a prompt with --prompt (in Python '
                             'prompt=)'),
    ({'prompt_name': 'x', 'prompt': 'a'}, 'prompt_name and prompt: give one of the two'),
    ({'prompt': 3}, 'prompt 3: expected a str'),
    ({'normalize': 'yes'}, "normalize 'yes': expected True, False, or None for the model's "
                           'setting'),
    ({'pooling': ()}, 'pooling: empty, expected one or more of mean, cls, max, '
                      'mean_sqrt_len_tokens, weightedmean, lasttoken, pooler'),
    ({'pooling': 3}, 'pooling "3": expected one of mean, cls, max, mean_sqrt_len_tokens, '
                     'weightedmean, lasttoken, pooler'),
    ({'pooling': ('cls', 'pooler')}, 'pooling cls pooler: "pooler" can\'t be combined with others, '
                                     'because another network computes it'),
    ({'max_tokens': 2}, 'max_tokens 2: expected from 3 to 40: at least 2 special tokens and one of '
                        'the text, at most the positions of this model')])
def test_arguments_that_make_no_sense(prompted, keywords, problem):
    with pytest.raises(UserError) as error:
        Embedder(prompted, **keywords)
    assert str(error.value) == problem


def test_a_model_without_prompts(tmp_path):
    path = tiny.write_checkpoint(tmp_path / 'm')
    with pytest.raises(UserError, match='^prompt_name query: this model has no prompts; give '):
        Embedder(path, prompt_name='query')


# ---- folders that are refused

ALONE = 'remove modules.json to read only the BERT of the folder'
SUPPORTED = 'supported: Transformer, then Pooling, then any of Dense and Normalize; ' + ALONE
POOLING, DENSE = '1_Pooling/config.json', '2_Dense/config.json'
LENGTH, SETTINGS = 'sentence_bert_config.json', 'config_sentence_transformers.json'


def entries(*kinds, **values):
    return [dict({'idx': i, 'name': str(i), 'path': '%d_%s' % (i, kind) if i else '',
                  'type': OLD_TYPE % kind}, **(values if i == len(kinds) - 1 else {}))
            for i, kind in enumerate(kinds)]


@pytest.mark.parametrize('name, content, problem', [
    ('modules.json', {}, 'holds a dict, expected a list'),
    ('modules.json', [3], 'module 0: expected the keys "type" and "path" with texts'),
    ('modules.json', [], 'the modules are none; ' + SUPPORTED),
    ('modules.json', entries('Transformer'), 'the modules are Transformer; ' + SUPPORTED),
    ('modules.json', entries('Transformer', 'Pooling', 'CNN'),
     'module 2, 2_CNN, is a sentence_transformers.models.CNN; ' + SUPPORTED),
    ('modules.json', entries('Transformer', 'Pooling', 'Dense', type='custom.Dense'),
     'module 2, 2_Dense, is a custom.Dense; ' + SUPPORTED),
    ('modules.json', entries('Transformer', 'Dense', 'Pooling'),
     'the modules are Transformer, Dense, Pooling; ' + SUPPORTED),
    ('modules.json', entries('Transformer', 'Pooling', 'Pooling'),
     'the modules are Transformer, Pooling, Pooling; ' + SUPPORTED),
    ('modules.json', entries('Transformer', 'Pooling', kwargs=['task']),
     'module 1 has "kwargs" [\'task\'], which are not supported; ' + ALONE),
    ('modules.json', entries('Transformer', 'Pooling', path='../1_Pooling'),
     'module 1, Pooling, has the path "../1_Pooling"; supported: "" for Transformer, the name of a '
     'folder for others'),
    (POOLING, None, 'can\'t read: No such file or directory'),
    (POOLING, {'pooling_mode': 'cls'}, '"embedding_dimension" is None, expected a whole number '
                                       'from 1 on'),
    (POOLING, new_pooling('cls', embedding_dimension=16),
     '"embedding_dimension" is 16, but the BERT beside it has 8 units'),
    (POOLING, old_pooling('cls', word_embedding_dimension=16),
     '"word_embedding_dimension" is 16, but the BERT beside it has 8 units'),
    (POOLING, old_pooling('cls', pooling_mode_attention=True),
     'unknown key "pooling_mode_attention"; known: embedding_dimension, word_embedding_dimension, '
     'pooling_mode, %s, include_prompt; %s' % (', '.join(OLD_KEYS.values()), ALONE)),
    (POOLING, old_pooling(), 'no pooling_mode_… key is true'),
    (POOLING, old_pooling('cls', pooling_mode_cls_token=1),
     '"pooling_mode_cls_token" is 1, expected true or false'),
    (POOLING, new_pooling('first'), '"pooling_mode" is \'first\', expected one or a list of cls, '
     'max, mean, mean_sqrt_len_tokens, weightedmean, lasttoken; ' + ALONE),
    (POOLING, new_pooling('cls', pooling_mode=[]), '"pooling_mode" is [], expected one or a list '
     'of cls, max, mean, mean_sqrt_len_tokens, weightedmean, lasttoken; ' + ALONE),
    (POOLING, old_pooling('max', pooling_mode='cls'),
     '"pooling_mode" is \'cls\', but these keys are true: pooling_mode_max_tokens: remove one of '
     'the two'),
    (POOLING, new_pooling('cls', include_prompt='no'),
     '"include_prompt" is \'no\', expected true or false'),
    (DENSE, {'in_features': 8}, '"out_features" is None, expected a whole number from 1 on'),
    (DENSE, {'in_features': 8, 'out_features': 3, 'bias': None},
     '"bias" is None, expected true or false'),
    (DENSE, {'in_features': 8, 'out_features': 3, 'dropout': 0.1},
     'unknown key "dropout"; known: in_features, out_features, bias, activation_function, '
     'use_residual, module_input_name, module_output_name; ' + ALONE),
    (DENSE, {'in_features': 8, 'out_features': 3, 'activation_function': 'torch.nn.PReLU'},
     '"activation_function" is torch.nn.PReLU; supported: Tanh, Identity, ReLU, GELU, Sigmoid, '
     'SiLU of torch.nn; ' + ALONE),
    (DENSE, {'in_features': 8, 'out_features': 3, 'activation_function': 'evil.Tanh'},
     '"activation_function" is evil.Tanh; supported: Tanh, Identity, ReLU, GELU, Sigmoid, SiLU of '
     'torch.nn; ' + ALONE),
    (DENSE, {'in_features': 8, 'out_features': 3, 'module_input_name': 'token_embeddings'},
     '"module_input_name" is \'token_embeddings\'; supported: \'sentence_embedding\'; ' + ALONE),
    ('3_Normalize/config.json', {'module_output_name': 'x'},
     '"module_output_name" is \'x\'; supported: \'sentence_embedding\' or None; ' + ALONE),
    (LENGTH, {'max_seq_length': '8'}, '"max_seq_length" is \'8\', expected a whole number from 1 '
                                      'on'),
    (LENGTH, {'max_seq_length': 0}, '"max_seq_length" is 0, expected a whole number from 1 on'),
    (LENGTH, {'do_lower_case': None}, '"do_lower_case" is None, expected true or false'),
    (LENGTH, {'transformer_task': 'fill-mask'},
     '"transformer_task" is \'fill-mask\'; supported: \'feature-extraction\'; ' + ALONE),
    (LENGTH, {'query_length': 8}, '"query_length" is 8; supported: None; ' + ALONE),
    (LENGTH, {'model_args': {}}, 'unknown key "model_args"; known: max_seq_length, do_lower_case, '
     'transformer_task, module_output_name, modality_config, unpad_inputs, processing_kwargs, '
     'query_length, document_length, query_expansion; ' + ALONE),
    (SETTINGS, {'prompts': ['query: ']}, '"prompts" is [\'query: \'], expected a dictionary'),
    (SETTINGS, {'prompts': {'query': 3}}, 'the prompt "query" is 3, expected a text'),
    (SETTINGS, {'prompts': {'query': 'a'}, 'default_prompt_name': 'x'},
     '"default_prompt_name" is \'x\', expected one of the prompts: query'),
    (SETTINGS, {'default_prompt_name': 'x'}, '"default_prompt_name" is \'x\', expected one of the '
                                             'prompts: there are none'),
    (SETTINGS, {'similarity_fn_name': 'maxsim'}, '"similarity_fn_name" is \'maxsim\', expected one '
                                                 'of cosine, dot, euclidean, manhattan'),
    (SETTINGS, {'truncate_dim': 4}, '"truncate_dim" is 4, but the vectors have 3 numbers'),
    (SETTINGS, {'truncate_dim': -1}, '"truncate_dim" is -1, expected a whole number from 1 on')])
def test_folders_that_are_refused(tmp_path, name, content, problem):
    path = write_folder(tmp_path / 'm', modules=('Pooling', 'Dense', 'Normalize'),
                        dense=[({'in_features': 8, 'out_features': 3}, dense_arrays(8, 3))])
    if content is None:
        (tmp_path / 'm' / name).unlink()
    else:
        write_json(tmp_path / 'm' / name, content)
    with pytest.raises(UserError) as error:
        read_sentence_model(path, tiny.CONFIG)
    assert str(error.value) == '%s/%s: %s' % (path, name, problem)


@pytest.mark.parametrize('config, arrays, problem', [
    ({'in_features': 16, 'out_features': 3}, dense_arrays(16, 3),
     'modules.json: 2_Dense reads vectors of 16 numbers, but its input has vectors of 8'),
    ({'in_features': 8, 'out_features': 3}, dense_arrays(8, 4),
     '2_Dense/model.safetensors: "linear.weight" has the shape (4, 8), but config.json beside it '
     'says (3, 8)'),
    ({'in_features': 8, 'out_features': 3, 'bias': False}, dense_arrays(8, 3),
     '2_Dense/model.safetensors: found linear.bias, linear.weight, but config.json beside it needs '
     'linear.weight'),
    ({'in_features': 8, 'out_features': 3, 'use_residual': True}, dense_arrays(8, 3),
     '2_Dense/model.safetensors: found linear.bias, linear.weight, but config.json beside it needs '
     'linear.weight, linear.bias, residual.weight'),
    ({'in_features': 8, 'out_features': 1},
     {'linear.weight': np.full((1, 8), np.nan, 'float32'), 'linear.bias': np.zeros(1, 'float32')},
     '2_Dense/model.safetensors: linear.weight holds numbers that are not finite (nan or inf): '
     'the training diverged, or the file is damaged; take an earlier checkpoint')])
def test_layers_that_do_not_fit(tmp_path, config, arrays, problem):
    path = write_folder(tmp_path / 'm', modules=('Pooling', 'Dense'), dense=[(config, arrays)])
    with pytest.raises(UserError) as error:
        Embedder(path)
    assert str(error.value) == '%s/%s' % (path, problem)


def test_a_layer_without_weights(tmp_path):
    path = write_folder(tmp_path / 'm', modules=('Pooling', 'Dense'),
                        files={DENSE: {'in_features': 8, 'out_features': 3}})
    with pytest.raises(UserError) as error:
        Embedder(path)
    assert str(error.value) == (
        path + '/2_Dense: no model.safetensors and no pytorch_model.bin in it')


def test_a_pooling_that_a_layer_does_not_take(tmp_path):
    path = write_folder(tmp_path / 'm', modules=('Pooling', 'Dense'), dense=[
        ({'in_features': 8, 'out_features': 3}, dense_arrays(8, 3))])
    with pytest.raises(UserError, match='^2_Dense reads vectors of 8 numbers, but its input has '
                                        'vectors of 16$'):
        Embedder(path, pooling=('cls', 'mean'))


def test_a_cross_encoder_makes_no_vectors_of_texts(tmp_path):
    path = write_folder(tmp_path / 'm', modules=('LogitScore',),
                        settings={'model_type': 'CrossEncoder', 'prompts': {}})
    assert read_sentence_model(path, tiny.CONFIG) is None
    assert_close(Embedder(path)(TEXTS), normalized(pooled(('mean',))))
