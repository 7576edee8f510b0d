"""hub.py: models by their names, against a hub on this machine with the faults of the real one."""
import json
import logging
import os
import pathlib
import subprocess
import sys
import threading
import time
import types

import numpy as np
import pytest
from huggingface_hub import constants, hf_hub_download
from reference.hub_server import TOKEN, HubServer, Repository, sha256
from support import tiny
from support.hub_settings import use_hub

from bert import hub
from bert.errors import UserError
from bert.hub_errors import HubUnreachableError
from bert.model.weights.descriptions import describe_model

CONFIG = {'model_type': 'bert', 'architectures': ['BertModel'], 'num_hidden_layers': 2,
          'hidden_size': 8, 'intermediate_size': 16, 'num_attention_heads': 2, 'vocab_size': 20,
          'max_position_embeddings': 40, 'type_vocab_size': 2}
WEIGHTS = bytes(range(256)) * 40
BERT = {'config.json': json.dumps(CONFIG).encode(), 'vocab.txt': b'[PAD]\n[UNK]\n',
        'tokenizer.json': b'{}', 'model.safetensors': WEIGHTS,
        'tokenizer_config.json': b'{"tokenizer_class": "BertTokenizer", "do_lower_case": true}'}
MODULES = [{'idx': 0, 'name': '0', 'path': '', 'type': 'sentence_transformers.models.Transformer'},
           {'idx': 1, 'name': '1', 'path': '1_Pooling',
            'type': 'sentence_transformers.models.Pooling'},
           {'idx': 2, 'name': '2', 'path': '2_Dense', 'type': 'sentence_transformers.models.Dense'},
           {'idx': 3, 'name': '3', 'path': '3_Normalize',
            'type': 'sentence_transformers.models.Normalize'}]
SENTENCES = dict(BERT, **{
    'modules.json': json.dumps(MODULES).encode(), '1_Pooling/config.json': b'{}',
    '2_Dense/config.json': b'{}', '2_Dense/model.safetensors': b'dense',
    'config_sentence_transformers.json': b'{}', 'sentence_bert_config.json': b'{}'})
UNWANTED = {'README.md': b'#', '.gitattributes': b'', 'modeling.py': b'1/0', 'tf_model.h5': b'h5',
            'pytorch_model.bin': b'bin', 'flax_model.msgpack': b'flax', 'onnx/model.onnx': b'onnx',
            'onnx/config.json': b'{}', 'openvino/model.safetensors': b'no', 'model.gguf': b'gguf',
            '2_Dense/pytorch_model.bin': b'bin', '9_Other/config.json': b'{}'}
NAME = 'someone/tiny'
NO_COMMIT = 'f' * 40


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A hub with the model someone/tiny; the library's settings point to it, and to an empty
    cache."""
    with HubServer({NAME: Repository(BERT)}) as server:
        use_hub(server, tmp_path, monkeypatch)
        monkeypatch.setenv('MXNET_HOME', str(tmp_path / 'mxnet'))
        monkeypatch.chdir(tmp_path)
        yield server


@pytest.fixture
def impatient(monkeypatch):
    """The library's pauses between attempts take no time."""
    monkeypatch.setattr(time, 'sleep', lambda seconds: None)


def put(server, files, **settings):
    """Put a model on the hub in place of someone/tiny. Returns its commit."""
    server.repositories[NAME] = Repository(files, **settings)
    return server.repositories[NAME].refs['main']


def commit_of(server):
    return server.repositories[NAME].refs['main']


def files_of(folder):
    return sorted(str(path.relative_to(folder)) for path in pathlib.Path(folder).rglob('*')
                  if path.is_file())


def message_of(function, *arguments, kind=UserError):
    """The message of the error that a call raises: of exactly this kind, and one line."""
    with pytest.raises(kind) as error:
        function(*arguments)
    assert type(error.value) is kind and '\n' not in str(error.value)
    return str(error.value)


def messages(caplog):
    return [record.getMessage() for record in caplog.records if record.name == 'bert.hub']


# Names


@pytest.mark.parametrize('name, parts', [
    ('BAAI/bge-small-en-v1.5', ('BAAI/bge-small-en-v1.5', None)),
    ('bert-base-uncased', ('bert-base-uncased', None)),
    ('a/b@main', ('a/b', 'main')), ('b@v1.0', ('b', 'v1.0')),
    ('a/b@refs/pr/1', ('a/b', 'refs/pr/1')), ('a/b@' + NO_COMMIT, ('a/b', NO_COMMIT)),
    ('a_/_b', ('a_/_b', None)), ('a/' + 'b' * 94, ('a/' + 'b' * 94, None))])
def test_names(name, parts):
    assert hub.split_model_name(name) == parts


@pytest.mark.parametrize('name', [
    '', '/a/b', '/a', './a', '../a', '~/a', '~a', 'a/b/c', 'a/', 'a/b/', 'a b/c', 'a/b@', '@main',
    'a/b@/x', 'a/b@x/../y', 'a/b@..', 'a--b/c', 'a/b..c', '-a/b', 'a/b.', 'a/' + 'b' * 95, 'a/é',
    'a/b.git', 'a/b.params', 'b.safetensors', 'b.bin', 'a/b.json', 'b.onnx', 'b.txt', 'a/b\n',
    'https://host/a'])
def test_texts_that_are_no_names(server, name):
    assert hub.split_model_name(name) is None
    if not os.path.exists(name):
        for function in (hub.pin_model, hub.fetch_model, hub.model_folder, describe_model):
            message = message_of(function, name)
            assert message == ' '.join((
                name + ': no such file or folder, and not the name of a model on the hub: '
                'expected owner/name or owner/name@revision, of letters, digits, ".", "-" and "_"'
            ).splitlines())
    assert server.requests == []


def test_a_path_is_no_name(server, tmp_path):
    (tmp_path / 'someone' / 'tiny').mkdir(parents=True)
    problem = ': a local file or folder; expected the name of a model on the hub'
    for function in (hub.pin_model, hub.fetch_model, hub.model_folder, describe_model):
        path = str(tmp_path / 'someone')
        assert message_of(function, path) == path + problem
        assert message_of(function, NAME) == '%s%s, such as %s@main' % (NAME, problem, NAME)
    assert server.requests == []


# Fetching, and the cache


def test_fetched_once(server, tmp_path, caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    commit = put(server, dict(BERT, **UNWANTED))
    pinned = '%s@%s' % (NAME, commit)
    assert hub.pin_model(NAME) == pinned
    folder = tmp_path / 'hub' / 'models--someone--tiny' / 'snapshots' / commit
    assert files_of(folder) == sorted(BERT)
    assert {name: (folder / name).read_bytes() for name in BERT} == BERT
    assert (folder.parent.parent / 'refs' / 'main').read_text() == commit
    prefix = '%s/resolve/%s/' % (NAME, commit)
    plain = [prefix + name for name in BERT if name != 'model.safetensors']
    assert sorted(server.requests) == sorted(
        [('GET', 'api/models/' + NAME, None), ('HEAD', prefix + 'model.safetensors', None),
         ('GET', 'cdn/' + sha256(WEIGHTS), None)]
        + [(method, path, None) for method in ('HEAD', 'GET') for path in plain])
    assert [path for _, path, _ in server.requests][-1] == 'cdn/' + sha256(WEIGHTS)
    assert messages(caplog) == ['someone/tiny: commit %s: 3 files to fetch, 0.0 MB' % commit]
    record, = (tmp_path / 'mxnet').rglob('*.json')
    assert record == tmp_path / 'mxnet' / 'models' / 'hub' / 'someone--tiny' / (commit + '.json')
    assert json.loads(record.read_text()) == {
        'repository': NAME, 'commit': commit, 'parameters': None,
        'files': {name: len(data) for name, data in BERT.items()}}

    server.requests.clear()
    caplog.clear()
    assert hub.pin_model(NAME) == hub.pin_model(pinned) == pinned
    assert hub.model_folder(NAME) == hub.model_folder(pinned) == str(folder)
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
    assert hub.pin_model(NAME + '@main') == pinned
    assert server.requests == []
    assert messages(caplog) == [
        '%s: using commit %s from the cache; models.py --fetch %s gets the newest commit' % (
            name, commit, name) for name in (NAME, NAME, NAME + '@main')]


def test_what_is_fetched_opens(server, tmp_path):
    from bert.model.weights.checkpoint_reader import read_checkpoint
    local = pathlib.Path(tiny.write_checkpoint(tmp_path / 'local'))
    put(server, {name: (local / name).read_bytes() for name in files_of(local)})
    fetched, expected = read_checkpoint(hub.model_folder(NAME)), read_checkpoint(str(local))
    assert fetched.config == expected.config
    assert fetched.vocabulary.idx_to_token == expected.vocabulary.idx_to_token
    assert fetched.arrays.keys() == expected.arrays.keys()
    for name, array in expected.arrays.items():
        np.testing.assert_array_equal(fetched.arrays[name], array)


def index_of(*names):
    return json.dumps({'weight_map': {'tensor %d' % i: name for i, name in enumerate(names)}}
                      ).encode()


def without(files, *names):
    return {name: data for name, data in files.items() if name not in names}


SHARDS = ('model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors')
TORCH_SHARDS = ('pytorch_model-00001-of-00002.bin', 'pytorch_model-00002-of-00002.bin')
BARE = without(BERT, 'model.safetensors')


@pytest.mark.parametrize('wanted', [
    SENTENCES,
    dict(BARE, **{'model.safetensors.index.json': index_of(*SHARDS, SHARDS[0])},
         **dict.fromkeys(SHARDS, b'shard')),
    dict(BARE, **{'model.params': b'ours', 'task.json': b'{}'}),
    dict(without(BARE, 'tokenizer.json', 'tokenizer_config.json'), **{
        'config.json': b'{"units": 8}', 'model.safetensors': b'weights'}),
    dict(without(BERT, 'vocab.txt'), **{'special_tokens_map.json': b'{}', 'added_tokens.json':
                                        b'{}', 'sentence_xlm-roberta_config.json': b'{}'}),
    dict(without(BERT, 'vocab.txt', 'tokenizer.json'), **{'vocab.json': b'{}', 'merges.txt': b''})],
    ids=['sentences', 'shards', 'ours', 'no model_type', 'tokenizer.json', 'byte pairs'])
def test_only_the_needed_files(server, wanted):
    put(server, dict(UNWANTED, **wanted))
    assert files_of(hub.model_folder(NAME)) == sorted(wanted)


def test_byte_pairs_are_for_folders_without_tokenizer_json(server):
    put(server, dict(BERT, **{'vocab.json': b'{}', 'merges.txt': b''}))
    assert files_of(hub.model_folder(NAME)) == sorted(BERT)


@pytest.mark.parametrize('wanted', [
    dict(BARE, **{'pytorch_model.bin': b'bin'}),
    dict(BARE, **{'pytorch_model.bin.index.json': index_of(*TORCH_SHARDS)},
         **dict.fromkeys(TORCH_SHARDS, b'shard')),
    dict(without(SENTENCES, '2_Dense/model.safetensors'), **{'2_Dense/pytorch_model.bin': b'bin'})],
    ids=['one file', 'shards', 'module'])
def test_pickles_only_if_there_is_nothing_else(server, wanted, monkeypatch):
    monkeypatch.setitem(sys.modules, 'torch', types.SimpleNamespace(__version__='2.6.0'))
    put(server, dict(wanted, **{'tf_model.h5': b'', 'training_args.bin': b'pickle'}))
    assert files_of(hub.model_folder(NAME)) == sorted(wanted)


def test_revisions(server, tmp_path):
    repository = server.repositories[NAME]
    old = repository.refs['main']
    tag = repository.commit(dict(BERT, **{'vocab.txt': b'tag\n'}), 'v1.0')
    request = repository.commit(dict(BERT, **{'vocab.txt': b'pull request\n', 'x.txt': b''}),
                                'refs/pr/1')
    for revision, commit in (('main', old), ('v1.0', tag), ('refs/pr/1', request), (old, old)):
        assert hub.pin_model('%s@%s' % (NAME, revision)) == '%s@%s' % (NAME, commit)
    folder = hub.model_folder(NAME + '@v1.0')
    assert pathlib.Path(folder, 'vocab.txt').read_bytes() == b'tag\n'
    refs = tmp_path / 'hub' / 'models--someone--tiny' / 'refs'
    assert files_of(refs) == ['main', 'refs/pr/1', 'v1.0']
    requests = [path for _, path, _ in server.requests if path.startswith('api/')]
    assert requests == ['api/models/someone/tiny/revision/' + revision for revision in
                        ('main', 'v1.0', 'refs%2Fpr%2F1')]       # the commit of main is here


def test_a_newer_commit_is_taken_when_asked_for(server):
    repository = server.repositories[NAME]
    old = hub.pin_model(NAME)
    new = '%s@%s' % (NAME, repository.commit(dict(BERT, **{'vocab.txt': b'new\n'})))
    assert hub.pin_model(NAME) == old
    server.requests.clear()
    server.status['%s/resolve/%s/vocab.txt' % (NAME, new[-40:])] = 503
    server.headers = {'Retry-After': '0'}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, 'sleep', lambda seconds: None)
        message_of(hub.fetch_model, NAME, kind=HubUnreachableError)
    assert hub.pin_model(NAME) == old       # whose files are still complete
    server.status.clear()
    server.requests.clear()
    assert hub.fetch_model(NAME) == new
    assert hub.pin_model(NAME) == new and hub.pin_model(old) == old
    assert [path for path in server.paths() if 'cdn' in path] == []     # the same weights
    assert hub.fetch_model(NAME + '@main') == new


def test_a_renamed_repository(server):
    server.renamed['tiny-old'] = NAME
    commit = commit_of(server)
    assert hub.pin_model('tiny-old') == 'tiny-old@' + commit
    server.requests.clear()
    assert files_of(hub.model_folder('tiny-old')) == sorted(BERT)
    assert server.requests == []


# A cache that another program filled


def leave_in_cache(server, names):
    """Fetch files as another program does, with the library alone."""
    for name in names:
        hf_hub_download(NAME, name)
    server.requests.clear()


def test_files_of_another_program_are_verified_once(server, tmp_path):
    leave_in_cache(server, BERT)
    ref = tmp_path / 'hub' / 'models--someone--tiny' / 'refs' / 'main'
    inode = ref.stat().st_ino
    pinned = hub.pin_model(NAME)
    assert server.requests == [
        ('GET', 'api/models/someone/tiny/revision/' + commit_of(server), None)]
    assert hub.pin_model(NAME) == pinned and len(server.requests) == 1
    assert ref.stat().st_ino == inode       # not written again: the cache may be read-only


def test_a_damaged_file_of_another_program_is_fetched_again(server, tmp_path):
    leave_in_cache(server, BERT)
    blob = tmp_path / 'hub' / 'models--someone--tiny' / 'blobs' / sha256(WEIGHTS)
    blob.write_bytes(WEIGHTS[:-1] + b'?')
    folder = hub.model_folder(NAME)
    assert pathlib.Path(folder, 'model.safetensors').read_bytes() == blob.read_bytes() == WEIGHTS


def test_missing_files_are_added(server):
    leave_in_cache(server, ['config.json', 'vocab.txt'])
    assert files_of(hub.model_folder(NAME)) == sorted(BERT)


def test_files_of_another_program_without_network(server, caplog, monkeypatch):
    put(server, dict(SENTENCES))
    leave_in_cache(server, SENTENCES)
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
    assert hub.pin_model(NAME) == '%s@%s' % (NAME, commit_of(server))
    assert messages(caplog) == [
        'someone/tiny: the hub is out of reach: using commit %s from the cache, which another '
        'program fetched, without verifying it' % commit_of(server)]
    assert server.requests == []


@pytest.mark.parametrize('lacks', ['model.safetensors', SHARDS[1], '2_Dense/model.safetensors',
                                   'all tokenizers'])
def test_an_incomplete_cache_without_network(server, monkeypatch, lacks):
    files = dict(SENTENCES)
    if lacks == SHARDS[1]:
        files = dict(without(files, 'model.safetensors'), **{
            'model.safetensors.index.json': index_of(*SHARDS), SHARDS[0]: b'', SHARDS[1]: b''})
    names = without(files, *(('vocab.txt', 'tokenizer.json') if lacks.startswith('all') else
                             (lacks,)))
    put(server, files)
    leave_in_cache(server, names)
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
    if lacks.startswith('2_'):      # a module without weights is a module
        assert hub.pin_model(NAME)
    else:
        assert 'HF_HUB_OFFLINE is set' in message_of(hub.pin_model, NAME, kind=HubUnreachableError)


def test_a_cache_that_lost_a_file_is_completed(server):
    folder = pathlib.Path(hub.model_folder(NAME))
    (folder / 'vocab.txt').unlink()
    assert pathlib.Path(hub.model_folder(NAME), 'vocab.txt').read_bytes() == BERT['vocab.txt']


# Refused before the weights are fetched

FILES_THERE = '; files there: %s'


@pytest.mark.parametrize('files, message', [
    ({'README.md': b'', 'adapter_config.json': b'{}', 'adapter_model.safetensors': b''},
     'no config.json: it is an adapter (LoRA), not a model: merge it into its base model with '
     'peft (merge_and_unload, save_pretrained), and give the new folder; files there: README.md, '
     'adapter_config.json, adapter_model.safetensors'),
    ({'tiny.gguf': b''}, 'no config.json: GGUF is the format of llama.cpp: use the repository '
     'that it was made from; files there: tiny.gguf'),
    ({'model_index.json': b'{}', 'unet/config.json': b'{}'}, 'no config.json: it is a diffusers '
     'pipeline, not a text encoder; files there: model_index.json, unet/config.json'),
    ({'.gitattributes': b''}, 'no config.json; files there: none'),
    ({str(i): b'' for i in range(10)},
     'no config.json; files there: 0, 1, 2, 3, 4, 5, 6, 7, …'),
    (dict(BARE, **{'onnx/model.onnx': b''}), 'no weights in a supported format (model.safetensors, '
     'pytorch_model.bin, model.params): ONNX files can\'t be trained or converted: use the '
     'repository that they were exported from; files there: config.json, onnx/model.onnx, '
     'tokenizer.json, tokenizer_config.json, vocab.txt'),
    (dict(BARE, **{'tf_model.h5': b''}), 'no weights in a supported format (model.safetensors, '
     'pytorch_model.bin, model.params): TensorFlow weights are not supported: convert them with '
     'transformers 4 (from_tf=True, save_pretrained), and give the new folder; files there: '
     'config.json, tf_model.h5, tokenizer.json, tokenizer_config.json, vocab.txt'),
    (dict(BARE, **{'bert_model.ckpt.index': b''}), 'no weights in a supported format '
     '(model.safetensors, pytorch_model.bin, model.params): TensorFlow weights are not supported: '
     'convert them with transformers 4 (convert_bert_original_tf_checkpoint_to_pytorch), and give '
     'the new folder; files there: bert_model.ckpt.index, config.json, tokenizer.json, '
     'tokenizer_config.json, vocab.txt'),
    (dict(BARE, **{'flax_model.msgpack': b''}), 'no weights in a supported format '
     '(model.safetensors, pytorch_model.bin, model.params): Flax weights are not supported: '
     'convert them with transformers 4 (from_flax=True, save_pretrained), and give the new folder; '
     'files there: config.json, flax_model.msgpack, tokenizer.json, tokenizer_config.json, '
     'vocab.txt'),
    (BARE, 'no weights in a supported format (model.safetensors, pytorch_model.bin, model.params); '
     'files there: config.json, tokenizer.json, tokenizer_config.json, vocab.txt'),
    (without(BERT, 'vocab.txt', 'tokenizer.json'), 'no tokenizer: expected vocab.txt, or '
     'tokenizer.json, or both vocab.json and merges.txt; files there: config.json, '
     'model.safetensors, tokenizer_config.json'),
    (dict(BERT, **{'config.json': b'{"model_type": "mpnet"}'}), 'config.json: the model_type is '
     '"mpnet", and its attention has relative positions: this zoo runs BERT and its relatives '
     '(model_type bert, roberta, xlm-roberta, camembert, ernie, distilbert, electra)'),
    (dict(BERT, **{'config.json': b'{"model_type": "bert", "auto_map": {"AutoModel": "m.X"}}'}),
     'config.json: the model needs its own Python code (auto_map), which is never run here: use a '
     'model that transformers opens without trust_remote_code'),
    (dict(BERT, **{'tokenizer_config.json': b'{"auto_map": {"AutoTokenizer": ["m.X", null]}}'}),
     'tokenizer_config.json: the model needs its own Python code (auto_map), which is never run '
     'here: use a model that transformers opens without trust_remote_code'),
    (dict(BARE, **{'model.safetensors.index.json': index_of(*SHARDS), SHARDS[0]: b''}),
     'model.safetensors.index.json: lists model-00002-of-00002.safetensors, which is missing'),
    (dict(BARE, **{'model.safetensors.index.json': b'{"weight_map": []}'}),
     'model.safetensors.index.json: no "weight_map" of names and files in it'),
    (dict(BERT, **{'modules.json': b'[{"path": "../other"}]'}),
     'modules.json: the path "../other" is not a folder of the repository: refused'),
    (dict(BERT, **{'modules.json': b'[{"path": "/etc"}]'}),
     'modules.json: the path "/etc" is not a folder of the repository: refused'),
    (dict(BERT, **{'modules.json': b'[{"path": "a\\\\b"}]'}),
     'modules.json: the path "a\\b" is not a folder of the repository: refused'),
    (dict(BERT, **{'modules.json': b'[3]'}),
     'modules.json: 3: expected a module with a "path"')])
def test_refused(server, files, message):
    put(server, files)
    assert message_of(hub.pin_model, NAME) == 'someone/tiny: ' + message
    assert [path for path in server.paths() if path.startswith('cdn/')] == []
    assert describe_model(NAME).problem == 'someone/tiny: ' + message


@pytest.mark.parametrize('version, message', [
    (None, 'reading it takes PyTorch: pip install torch; or let transformers write the model as '
     'safetensors, with save_pretrained(FOLDER)'),
    ('2.5.1', 'PyTorch 2.5.1 could be tricked into running code that is in the file; install 2.6 '
     'or later; or let transformers write the model as safetensors, with '
     'save_pretrained(FOLDER)')])
def test_pickles_without_the_right_torch(server, monkeypatch, version, message):
    module = version and types.SimpleNamespace(__version__=version)
    monkeypatch.setitem(sys.modules, 'torch', module)
    put(server, dict(BARE, **{'pytorch_model.bin': b'bin'}))
    assert message_of(hub.pin_model, NAME) == 'someone/tiny: pytorch_model.bin: ' + message
    assert [path for path in server.paths() if path.startswith('cdn/')] == []


@pytest.mark.parametrize('content, problem', [
    (b'[]', 'holds a list, expected a dictionary'),
    (b'{"a"', "not JSON: Expecting ':' delimiter: line 1 column 5 (char 4)")])
def test_damaged_json(server, content, problem):
    put(server, dict(BERT, **{'config.json': content}))
    message = message_of(hub.pin_model, NAME)
    assert message.endswith('/snapshots/%s/config.json: %s' % (commit_of(server), problem))


# Errors of the hub


def url(server, path=''):
    return server.url + path


def test_no_such_model(server, monkeypatch):
    assert message_of(hub.pin_model, 'someone/else') == (
        'someone/else: no such file or folder here, and {0} has no public model of that '
        'name: check the spelling; a private model needs HF_TOKEN, a token of '
        '{0}/settings/tokens'.format(constants.ENDPOINT))
    monkeypatch.setenv('HF_TOKEN', TOKEN)
    assert message_of(hub.pin_model, 'someone/else@v1') == (
        'someone/else@v1: no such file or folder here, and %s has no model of that name that the '
        'token in HF_TOKEN may read: check the spelling' % constants.ENDPOINT)


def test_no_such_revision(server):
    assert message_of(hub.pin_model, NAME + '@v9') == (
        'someone/tiny@v9: the model has no branch, tag or commit "v9": '
        '%s/someone/tiny/commits/main lists them; models.py --fetch someone/tiny takes the newest'
        % constants.ENDPOINT)


def test_private(server, monkeypatch, tmp_path):
    put(server, BERT, private=True)
    assert 'has no public model of that name' in message_of(hub.pin_model, NAME)
    (tmp_path / 'token').write_text(TOKEN + '\n')       # of `hf auth login`
    assert files_of(hub.model_folder(NAME)) == sorted(BERT)
    assert {header for path, header in server.authorizations if path.startswith('cdn/')} == {None}
    assert ('api/models/' + NAME, 'Bearer ' + TOKEN) in server.authorizations


def test_gated(server, monkeypatch):
    put(server, BERT, gated=True)
    assert message_of(hub.pin_model, NAME) == (
        'someone/tiny: config.json: the model is gated: ask for access at {0}/someone/tiny, and '
        'set HF_TOKEN to a token of {0}/settings/tokens'.format(constants.ENDPOINT))
    monkeypatch.setenv('HF_TOKEN', TOKEN)
    server.admitted = False
    assert message_of(hub.pin_model, NAME) == (
        'someone/tiny: config.json: the model is gated, and the token in HF_TOKEN has no access to '
        'it: ask for it at %s/someone/tiny' % constants.ENDPOINT)
    server.admitted = True
    assert files_of(hub.model_folder(NAME)) == sorted(BERT)
    for path, header in server.authorizations:      # the token does not leave the hub
        assert header in ((None,) if path.startswith('cdn/') else (None, 'Bearer ' + TOKEN))


@pytest.mark.parametrize('is_variable', [True, False])
def test_a_wrong_token(server, monkeypatch, tmp_path, is_variable):
    if is_variable:
        monkeypatch.setenv('HF_TOKEN', 'hf_wrong')
    else:
        (tmp_path / 'token').write_text('hf_wrong')
    assert message_of(hub.pin_model, NAME) == (
        'someone/tiny: {0} does not know the token in {1}: set HF_TOKEN to a valid one of '
        '{0}/settings/tokens, or remove it'.format(
            constants.ENDPOINT, 'HF_TOKEN' if is_variable else tmp_path / 'token'))


@pytest.mark.parametrize('status, headers, message, kind', [
    (429, {'Retry-After': '37'}, 'too many requests to %s (HTTP 429): try again after 37 seconds, '
     'or set HF_TOKEN, which allows more', HubUnreachableError),
    (429, {}, 'too many requests to %s (HTTP 429): try again later, or set HF_TOKEN, which allows '
     'more', HubUnreachableError),
    (500, {}, '%s is out of order (HTTP 500): try again later; HF_ENDPOINT names a mirror',
     HubUnreachableError),
    (503, {}, '%s is out of order (HTTP 503): try again later; HF_ENDPOINT names a mirror',
     HubUnreachableError),
    (403, {}, '%s forbids it (HTTP 403): let the token in {token} read this model, at '
     '%s/settings/tokens', UserError),
    (418, {'X-Error-Message': 'a teapot'}, '%s refuses it (HTTP 418 a teapot): check HF_ENDPOINT',
     UserError)])
def test_other_answers(server, status, headers, message, kind, impatient):
    """On the listing, and on a file after the library's own attempts."""
    expected = message.replace('{token}', constants.HF_TOKEN_PATH).replace(
        '%s', constants.ENDPOINT)
    server.headers = headers
    server.status['api/models/' + NAME] = status
    assert message_of(hub.pin_model, NAME, kind=kind) == 'someone/tiny: ' + expected
    assert len(server.requests) == 1
    server.status = {'%s/resolve/%s/vocab.txt' % (NAME, commit_of(server)): status}
    assert message_of(hub.pin_model, NAME, kind=kind) == 'someone/tiny: vocab.txt: ' + expected


def test_not_a_hub(server):
    server.status['api/models/' + NAME] = 200       # as the login page of a network
    assert message_of(hub.pin_model, NAME, kind=HubUnreachableError) == (
        'someone/tiny: what %s answers is not the answer of a hub: check HF_ENDPOINT, and whether '
        'a proxy wants a login' % constants.ENDPOINT)


def test_a_cut_connection_resumes(server, impatient, monkeypatch):
    """The library resumes after the last whole chunk of 10 MB."""
    monkeypatch.setattr(constants, 'DOWNLOAD_CHUNK_SIZE', 1000)
    path = 'cdn/' + sha256(WEIGHTS)
    server.cut[path] = 4000
    folder = hub.model_folder(NAME)
    assert pathlib.Path(folder, 'model.safetensors').read_bytes() == WEIGHTS
    assert [request for request in server.requests if request[1] == path] == [
        ('GET', path, None), ('GET', path, 'bytes=4000-')]


class Forever(dict):
    """A dictionary whose values stay when they are taken out."""

    def pop(self, key, default=None):
        return self.get(key, default)


def test_a_connection_that_is_always_cut(server, impatient, tmp_path):
    server.cut = Forever({'cdn/' + sha256(WEIGHTS): 0})
    message = message_of(hub.pin_model, NAME, kind=HubUnreachableError)
    assert message.startswith('someone/tiny: model.safetensors: not in the cache %s, and %s can\'t '
                              'be reached: ' % (tmp_path / 'hub', constants.ENDPOINT))
    assert message.endswith('; HF_ENDPOINT names a mirror')
    assert not hub.cached_models()


@pytest.mark.parametrize('wrong, problem', [
    (WEIGHTS[:-1] + b'?', 'sha256 is %s, expected %s' % (sha256(WEIGHTS[:-1] + b'?'),
                                                         sha256(WEIGHTS))),
    (WEIGHTS[:-9], 'the size is not the expected 10240 bytes'),
    (WEIGHTS + b'?', 'the size is not the expected 10240 bytes')])
def test_wrong_weights(server, wrong, problem, tmp_path):
    path = 'cdn/' + sha256(WEIGHTS)
    server.replace[path] = wrong
    assert message_of(hub.pin_model, NAME) == (
        'someone/tiny: model.safetensors: the file is not as the hub declares it, after 2 '
        'attempts: %s; try again later, or use another mirror (HF_ENDPOINT)' % problem)
    assert server.paths().count(path) == 2
    assert not [name for name in files_of(tmp_path / 'hub') if sha256(WEIGHTS) in name
                and not name.endswith('.lock') or name.endswith('safetensors')]
    del server.replace[path]
    folder = hub.model_folder(NAME)
    assert pathlib.Path(folder, 'model.safetensors').read_bytes() == WEIGHTS


def test_wrong_bytes_once(server):
    path = 'cdn/' + sha256(WEIGHTS)

    class Once(dict):
        def get(self, key, default=None):
            return self.pop(key, default)
    server.replace = Once({path: WEIGHTS[:-1] + b'?'})
    folder = hub.model_folder(NAME)
    assert pathlib.Path(folder, 'model.safetensors').read_bytes() == WEIGHTS
    assert server.paths().count(path) == 2


def test_a_small_file_of_another_length(server):
    path = '%s/resolve/%s/vocab.txt' % (NAME, commit_of(server))
    server.replace[path] = b'short'
    assert message_of(hub.pin_model, NAME) == (
        'someone/tiny: vocab.txt: the file is not as the hub declares it, after 2 attempts: the '
        'size is not the expected %d bytes; try again later, or use another mirror (HF_ENDPOINT)'
        % len(BERT['vocab.txt']))


@pytest.mark.parametrize('variable', ['HF_HUB_OFFLINE', 'TRANSFORMERS_OFFLINE'])
def test_offline(server, monkeypatch, variable, tmp_path):
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
    monkeypatch.setenv(variable, '1')
    for function in (hub.pin_model, hub.model_folder, hub.fetch_model, describe_model):
        assert message_of(function, NAME, kind=HubUnreachableError) == (
            'someone/tiny: no such file or folder here; as a model of the hub it is not in the '
            'cache %s, and %s is set: unset it, or fetch the model with models.py --fetch '
            'someone/tiny where there is a network'
            % (tmp_path / 'hub', variable))
    assert server.requests == []


def test_out_of_reach(server, monkeypatch, tmp_path):
    monkeypatch.setattr(constants, 'ENDPOINT', 'http://127.0.0.1:9')
    start = time.time()
    assert message_of(hub.pin_model, NAME, kind=HubUnreachableError) == (
        'someone/tiny: no such file or folder here; as a model of the hub it is not in the cache '
        '%s, and http://127.0.0.1:9 can\'t be reached: [Errno 111] Connection refused; HF_ENDPOINT '
        'names a mirror' % (tmp_path / 'hub'))
    assert time.time() - start < 5


def test_a_hub_that_does_not_answer(server, monkeypatch):
    """As a firewall that drops what is sent: the time limit counts."""
    import socket
    with socket.create_server(('127.0.0.1', 0)) as silent:
        monkeypatch.setattr(constants, 'ENDPOINT', 'http://127.0.0.1:%d' % silent.getsockname()[1])
        assert hub.LISTING_TIMEOUT <= 10
        monkeypatch.setattr(hub, 'LISTING_TIMEOUT', 0.2)
        message = message_of(hub.pin_model, NAME, kind=HubUnreachableError)
    assert 'can\'t be reached: timed out; HF' in message


# The disk


def test_a_disk_that_is_too_small(server, monkeypatch):
    usage = types.SimpleNamespace(free=10000)
    monkeypatch.setattr(hub.shutil, 'disk_usage', lambda path: usage)
    message = message_of(hub.pin_model, NAME)
    assert message == (
        'someone/tiny: the model needs 0.0 MB, but the hub\'s cache '
        '%s/models--someone--tiny/snapshots has 0.0 MB left: free some space there, or set '
        'HF_HUB_CACHE to another folder'
        % constants.HF_HUB_CACHE)
    assert [path for path in server.paths() if path.startswith('cdn/')] == []


@pytest.mark.filterwarnings('ignore:Not enough free disk space')        # of the library
def test_a_full_disk(server, monkeypatch, disk):
    monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(disk.path / 'hub'))
    put(server, dict(BERT, **{'model.safetensors': bytes(300000)}))
    with monkeypatch.context() as patch:
        patch.setattr(hub, 'check_space', lambda *arguments: disk.fill(100000))
        message = message_of(hub.pin_model, NAME)
    assert message.startswith('someone/tiny: model.safetensors: can\'t write to the hub\'s cache '
                              '%s/hub: ' % disk.path)
    assert message.endswith('; free some space or rights there, or set HF_HUB_CACHE to another '
                            'folder')
    disk.free()
    assert files_of(hub.model_folder(NAME)) == sorted(BERT)


def test_a_cache_that_is_no_folder(server, monkeypatch, tmp_path):
    (tmp_path / 'file').write_bytes(b'')
    monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(tmp_path / 'file' / 'hub'))
    assert message_of(hub.pin_model, NAME) == (
        'someone/tiny: config.json: can\'t write to the hub\'s cache %s/file/hub: Not a directory; '
        'free some space or rights there, or set HF_HUB_CACHE to another folder' % tmp_path)


def test_without_a_place_for_the_record(server, monkeypatch, tmp_path, caplog):
    (tmp_path / 'file').write_bytes(b'')
    monkeypatch.setenv('MXNET_HOME', str(tmp_path / 'file'))
    assert files_of(hub.model_folder(NAME)) == sorted(BERT)
    assert [message.split(': ')[1] for message in messages(caplog)] == ['can\'t write']


# Several at once


def test_threads_at_once(server):
    results = []
    threads = [threading.Thread(target=lambda: results.append(hub.model_folder(NAME)))
               for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4 and len(set(results)) == 1
    assert files_of(results[0]) == sorted(BERT)


def run(server, home, code='print(hub.model_folder("someone/tiny"))', **environment):
    """Start Python in a new process, where the library reads its settings from the environment."""
    code = ('from bert import hub\nfrom bert.errors import run_script\n'
            'run_script(lambda: (%s) and 0)' % code)
    return subprocess.Popen(
        [sys.executable, '-c', code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=dict(os.environ, HF_ENDPOINT=server.url.rstrip('/'), HF_HOME=str(home),
                 HF_HUB_DISABLE_TELEMETRY='1', **environment))


def finish(process):
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_processes_at_once_by_either_protocol(server, tmp_path, monkeypatch):
    """Two processes fetch by xet into one cache, a third one over HTTP into another: the library's
    variables count. Nothing is printed where there is no terminal."""
    for name in ('HF_HUB_CACHE', 'HF_TOKEN_PATH', 'HF_XET_CACHE'):
        monkeypatch.delenv(name, raising=False)
    server.xet = True
    put(server, dict(BERT, **{'model.safetensors': WEIGHTS * 20}), private=True)
    homes = [tmp_path / 'one', tmp_path / 'one', tmp_path / 'two']
    for home in homes:
        home.mkdir(exist_ok=True)
    (tmp_path / 'one' / 'token').write_text(TOKEN)
    processes = [run(server, home, **environment) for home, environment in zip(
        homes, ({}, {}, {'HF_HUB_DISABLE_XET': '1', 'HF_TOKEN': TOKEN,
                         'HF_HUB_CACHE': str(tmp_path / 'cache')}))]
    results = [finish(process) for process in processes]
    folders = [folder / 'models--someone--tiny' / 'snapshots' / commit_of(server) for folder in (
        tmp_path / 'one' / 'hub', tmp_path / 'one' / 'hub', tmp_path / 'cache')]
    assert results == [(0, '%s\n' % folder, '') for folder in folders]
    for folder in folders:
        assert files_of(folder) == sorted(BERT)
        assert (folder / 'model.safetensors').read_bytes() == WEIGHTS * 20
    paths = server.paths()
    assert any(path.startswith('cas/xorb/') for path in paths)
    assert len([path for path in paths if path.startswith('cdn/')]) == 1
    assert {header for path, header in server.authorizations if path.startswith('cas/xorb/')
            } == {None}


@pytest.mark.process
def test_wrong_bytes_by_xet(server, tmp_path):
    server.xet = True
    server.replace['cdn/' + sha256(WEIGHTS)] = WEIGHTS[:-1] + b'?'
    code, out, err = finish(run(server, tmp_path / 'home'))
    assert (code, out) == (2, '')
    assert err.startswith('error: someone/tiny: model.safetensors: the file is not as the hub '
                          'declares it, after 2 attempts: sha256 is '), err


@pytest.mark.process
def test_the_variables_of_the_library(server, tmp_path):
    home = tmp_path / 'home'
    assert finish(run(server, home))[0] == 0
    server.requests.clear()
    assert finish(run(server, home, TRANSFORMERS_OFFLINE='1'))[0] == 0
    assert finish(run(server, home))[0] == 0
    assert server.requests == []
    code, out, err = finish(run(server, tmp_path / 'other', TRANSFORMERS_OFFLINE='1'))
    assert (code, out) == (2, '')
    assert 'TRANSFORMERS_OFFLINE is set' in err
    code, out, err = finish(run(server, tmp_path / 'other', HF_TOKEN='hf_wrong'))
    assert (code, 'does not know the token in HF_TOKEN' in err) == (2, True)


# What a model is


def test_description(server):
    commit = put(server, dict(SENTENCES, **UNWANTED), parameters=12345)
    description = describe_model(NAME)
    assert description._asdict() == {
        'repository': NAME, 'commit': commit, 'architecture': 'BertModel', 'num_layers': 2,
        'units': 8, 'hidden_size': 16, 'num_heads': 2, 'vocab_size': 20, 'max_length': 40,
        'token_type_vocab_size': 2, 'num_parameters': 12345,
        'tokenizer': 'BertTokenizer, lower case (vocab.txt, tokenizer.json)',
        'modules': ['Transformer', 'Pooling', 'Dense', 'Normalize'],
        'files': {name: len(data) for name, data in SENTENCES.items()}, 'is_cached': False,
        'problem': None}
    assert [path for path in server.paths() if path.startswith('cdn/')] == []
    assert hub.cached_models() == []        # its small files are there, no weights
    assert hub.pin_model(NAME) == '%s@%s' % (NAME, commit)
    server.requests.clear()
    assert describe_model(NAME) == describe_model('%s@%s' % (NAME, commit)) == \
        description._replace(is_cached=True)
    assert server.requests == []


def test_description_of_our_folder(server):
    put(server, {'config.json': b'{"units": 8, "num_layers": 2, "hidden_size": 16, "num_heads": 2, '
                 b'"vocab_size": 20, "max_length": 40}', 'vocab.txt': b'', 'model.params': b'1'})
    description = describe_model(NAME)
    assert (description.units, description.hidden_size, description.max_length) == (8, 16, 40)
    assert (description.token_type_vocab_size, description.num_parameters) == (2, 1784)
    assert (description.architecture, description.problem) == (None, None)
    assert description.tokenizer == 'no class named (vocab.txt)'


def test_description_of_what_cannot_be_read(server):
    put(server, BERT, gated=True)
    description = describe_model(NAME)
    assert description.problem.startswith('someone/tiny: config.json: the model is gated')
    assert (description.units, description.files) == (None, {})
    put(server, dict(BERT, **{'config.json': b'{"hidden_size": "8", "architectures": 3}'}))
    description = describe_model(NAME)
    assert (description.units, description.architecture) == (None, None)


def test_cached_models(server, tmp_path):
    assert hub.cached_models() == []
    commit = commit_of(server)
    hub.pin_model(NAME)
    server.repositories['a/left'] = Repository(dict(BERT, **{'x.txt': b''}))
    for name in ('config.json', 'model.safetensors'):
        hf_hub_download('a/left', name)
    server.repositories['a/other'] = Repository(dict(BERT, **{
        'config.json': b'{"model_type": "gpt2"}'}))
    for name in BERT:
        hf_hub_download('a/other', name)
    size = sum(len(data) for data in BERT.values())
    assert hub.cached_models() == [
        ('a/left', server.repositories['a/left'].refs['main'],
         len(BERT['config.json']) + len(WEIGHTS), False), (NAME, commit, size, True)]
    (tmp_path / 'hub' / 'models--someone--tiny' / 'snapshots' / commit / 'vocab.txt').unlink()
    assert [row.is_complete for row in hub.cached_models()] == [False, False]
