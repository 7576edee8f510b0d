"""Real models against outputs of transformers; real_models.json records how it computed them."""
import json
import os
import pathlib
import shutil

import mxnet as mx
import numpy as np
import pytest

import bert
from bert import downloads
from bert.model.weights import checkpoint_reader, heads, loading, released_folders
from bert.pipelines.embedder import Embedder
from bert.pipelines.opening import open_pipeline
from bert.pipelines.sentence_files import OLD_POOLING_KEYS

GOLDENS = json.loads((pathlib.Path(__file__).parent / 'real_models.json').read_text())['models']
# Chemical reactions (MIT licence), saved by an early release of transformers
RXNFP = ('rxnfp', '0.1.0', 'c5c1e818add6f34539a6b29bc680c47c9e7311e9383d1b34ce901481e34b58cf')
FOLDER = 'rxnfp/models/transformers/'
POOLED_SENTENCES = ['The state of the union is strong.', 'Is it?',
                    'Nobody knows how long it takes, for it has never been done before.']


@pytest.fixture(scope='module')
def rxnfp(tmp_path_factory):
    """The folder of the two models, from PyPI."""
    folder = tmp_path_factory.mktemp('rxnfp')
    members = [FOLDER + '%s/%s' % (model, name) for model in ('bert_pretrained', 'bert_ft_10k_25s')
               for name in ('config.json', 'pytorch_model.bin', 'vocab.txt')]
    downloads.fetch_pypi_files(*RXNFP, members, str(folder))
    return folder / FOLDER


def read_network(folder):
    """The network of a folder of any kind, with all its parts and its head."""
    checkpoint = checkpoint_reader.read_checkpoint(str(folder))
    head, arrays, _ = heads.identify_head(checkpoint.arrays, checkpoint.source)
    network = heads.make_network_with_head(checkpoint.config, head, arrays)
    loading.load_parameters(network, arrays, checkpoint.source, mx.cpu())
    return network


def inputs_of(model):
    arrays = {name: np.array(rows) for name, rows in GOLDENS[model]['inputs'].items()}
    lengths = arrays['attention_mask'].sum(axis=1)
    assert len(set(lengths)) > 1        # some inputs are padded
    return [mx.nd.array(arrays['input_ids'], dtype='int32'),
            mx.nd.array(arrays['token_type_ids'], dtype='int32'), mx.nd.array(lengths)]


def check(model, name, value):
    """Compare the vectors of tokens (batch, length, …) or of texts (batch, …) with the goldens."""
    value = value.asnumpy()
    end = int(inputs_of(model)[2][1].asscalar()) - 1
    vectors = (value[0], value[1]) if value.ndim == 2 else (value[0, 0], value[1, end])
    np.testing.assert_allclose([*vectors[0][:4], *vectors[1][-4:]],
                               GOLDENS[model]['goldens'][name], atol=1e-4)


def test_minilm(minilm):
    hidden, pooled = read_network(minilm.folder)(*inputs_of('MiniLM'))
    check('MiniLM', 'hidden', hidden)
    check('MiniLM', 'pooled', pooled)


@pytest.mark.torch
def test_the_vectors_of_sentence_transformers(sentence_transformers, minilm, tmp_path):
    """MiniLM as its files say, and with all ways of pooling one after the other."""
    released = released_folders.fetch_folder(minilm)
    folder = tmp_path / 'all'
    shutil.copytree(released, folder, copy_function=os.symlink)
    path = folder / '1_Pooling' / 'config.json'
    path.unlink()
    path.write_text(json.dumps(dict(
        word_embedding_dimension=384, **dict.fromkeys(OLD_POOLING_KEYS, True))))
    texts = ['A man is eating a piece of bread.', '', 'Café 电影', 'word ' * 400,
             *POOLED_SENTENCES]
    for path, width in ((released, 384), (str(folder), 6 * 384)):
        expected = sentence_transformers.SentenceTransformer(path, device='cpu').encode(texts)
        assert expected.shape == (len(texts), width)
        np.testing.assert_allclose(Embedder(path)(texts), expected, atol=1e-5)


@pytest.mark.torch
def test_a_complete_pretrained_model_of_an_early_release(torch, rxnfp):
    model = 'rxnfp bert_pretrained'
    inputs = inputs_of(model)
    positions = mx.nd.array(np.tile(np.arange(inputs[0].shape[1]), (len(inputs[2]), 1)))
    outputs = read_network(rxnfp / 'bert_pretrained')(*inputs, positions)
    for name, value in zip(('hidden', 'pooled', 'next sentence', 'token logits'), outputs):
        check(model, name, value)


@pytest.mark.torch
def test_a_classifier_whose_configuration_names_too_few_labels(torch, rxnfp, caplog):
    model = 'rxnfp bert_ft_10k_25s'
    check(model, 'logits', read_network(rxnfp / 'bert_ft_10k_25s')(*inputs_of(model)))
    classifier = open_pipeline(str(rxnfp / 'bert_ft_10k_25s'), mx.cpu())
    assert classifier.task['labels'] == ['LABEL_%d' % i for i in range(50)]
    assert 'id2label names 2 classes, the weights have 50' in caplog.text
    assert not classifier.config.cased      # unsaid, though C and c are different atoms


@pytest.mark.torch
def test_masks_are_filled_as_transformers_does(transformers, rxnfp):
    folder = str(rxnfp / 'bert_pretrained')
    texts = ['C C [MASK] . O', 'C 1 = C C = [MASK] C = C 1 [MASK] > > Br', '[MASK]']
    theirs = transformers.FillMaskPipeline(
        model=transformers.BertForMaskedLM.from_pretrained(folder),
        tokenizer=transformers.BertTokenizer.from_pretrained(folder))
    for ours, expected in zip(bert.open(folder, task='fill_mask')(texts), theirs(texts)):
        is_single = isinstance(expected[0], dict)
        for words, rows in zip([ours] if is_single else ours, [expected] if is_single else
                               expected, strict=True):
            assert [word[1:] for word in words] == [
                (row['token'], row['token_str'], row['sequence']) for row in rows]
            np.testing.assert_allclose([word.score for word in words],
                                       [row['score'] for row in rows], atol=1e-4)
