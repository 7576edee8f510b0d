"""Masks are filled as transformers' pipeline fills them, with the same words, scores and texts."""
import json
import pathlib

import numpy as np
import pytest
from reference import numpy_bert
from support import tiny

import bert
from bert import jobs

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings('ignore')]
TEXTS = ['the film [MASK] so good .', 'It was [MASK] , [MASK] and VERY bad !', '[MASK]',
         'the [MASK]', 'Ünïcode 电影 [MASK]\ts',
         '[MASK] [MASK][MASK] ! [UNK] [CLS] plot [PAD] [SEP]',
         "it 's [MASK] . don 't , can n't", 'scene ' * 30 + '[MASK]', 'good ' * 10 + '[MASK] .']
TARGETS = ['film', 'goods', 'The', 'scene', 'film', '电影', '##s', 'zzz']


@pytest.fixture
def folder(tmp_path):
    return tiny.write_transformers(tmp_path / 'mlm', numpy_bert.random_tensors(tiny.CONFIG),
                                   architectures=['BertForPreTraining'])


@pytest.fixture
def pipeline(transformers):
    """Function: folder → the pipeline of transformers."""
    def make(folder):
        return transformers.pipeline('fill-mask', model=str(folder), device='cpu')
    return make


def assert_same_words(ours, theirs):
    if isinstance(theirs, list):
        assert len(ours) == len(theirs)
        for our, their in zip(ours, theirs):
            assert_same_words(our, their)
        return
    assert ours._replace(score=0) == (0, theirs['token'], theirs['token_str'],
                                      theirs['sequence'])
    assert abs(ours.score - theirs['score']) < 1e-4


def compare(folder, theirs, texts=TEXTS, **keywords):
    """Texts in one call, and each alone: a list of one text is no list in transformers."""
    ours = bert.open(str(folder), task='fill_mask')
    expected = theirs(texts, **keywords)
    assert_same_words(ours(texts, **keywords), expected)
    assert_same_words(ours(texts[1], **keywords), theirs(texts[1], **keywords))
    for result in expected:
        scores = [word['score'] for word in np.ravel(result)]
        assert len(set(scores)) == len(scores), 'equal scores have no order'


def test_defaults_and_top_k(folder, pipeline):
    theirs = pipeline(folder)
    compare(folder, theirs)
    compare(folder, theirs, top_k=1)
    compare(folder, theirs, top_k=len(tiny.TOKENS))


def test_targets(folder, pipeline, caplog):
    theirs = pipeline(folder)
    compare(folder, theirs, targets=TARGETS)
    compare(folder, theirs, targets=TARGETS, top_k=2)
    compare(folder, theirs, targets='film')
    assert '4 of 8 targets are not in the vocabulary, and are replaced by their first token: ' \
        '"goods" by "good", "The" by "the", "电影" by "电", "zzz" by "[UNK]"' in caplog.text


@pytest.mark.parametrize('settings', [
    {'clean_up_tokenization_spaces': True}, {'clean_up_tokenization_spaces': False},
    {'do_lower_case': False}, {'strip_accents': False, 'clean_up_tokenization_spaces': True}])
def test_settings_of_the_tokenizer(folder, pipeline, settings):
    (pathlib.Path(folder) / 'tokenizer_config.json').write_text(json.dumps(settings))
    compare(folder, pipeline(folder))


def test_a_decoder_with_weights_of_its_own(tmp_path, pipeline):
    tensors = numpy_bert.random_tensors(tiny.CONFIG)
    tensors['cls.predictions.decoder.weight'] = np.random.RandomState(5).normal(
        0, 0.3, (len(tiny.TOKENS), tiny.CONFIG.units)).astype('float32')
    tensors['cls.predictions.decoder.bias'] = tensors.pop('cls.predictions.bias')
    for name in ('bert.pooler.dense.weight', 'bert.pooler.dense.bias', 'cls.seq_relationship.bias',
                 'cls.seq_relationship.weight'):
        del tensors[name]
    folder = tiny.write_transformers(tmp_path / 'mlm', tensors, tie_word_embeddings=False,
                                     architectures=['BertForMaskedLM'])
    compare(folder, pipeline(folder))


@pytest.mark.parametrize('settings', [{}, {'clean_up_tokenization_spaces': True}])
def test_conversions_fill_equally(folder, pipeline, tmp_path, settings):
    (pathlib.Path(folder) / 'tokenizer_config.json').write_text(json.dumps(settings))
    theirs = pipeline(folder)
    jobs.convert_checkpoint(input=folder, output=str(tmp_path / 'gluon'))
    compare(tmp_path / 'gluon', theirs)
    jobs.convert_checkpoint(input=str(tmp_path / 'gluon'), output=str(tmp_path / 'back'))
    compare(tmp_path / 'back', pipeline(tmp_path / 'back'))
    assert_same_words(bert.open(str(tmp_path / 'back'), task='fill_mask')(TEXTS), theirs(TEXTS))


def test_a_tokenizer_with_another_mask(transformers, pipeline, tmp_path):
    """The mask of XLM-RoBERTa's tokenizer takes the spaces before it."""
    pieces = [(token, 0.0) for token in ('<s>', '<pad>', '</s>', '<unk>')]
    pieces += [(piece, -3.0 - i / 100) for i, piece in enumerate(
        ('▁', '▁the', '▁film', '▁so', '▁good', 's', 'a', 'e', 'o', 't', '.', ',', '电'))]
    tokenizer = transformers.XLMRobertaTokenizer(vocab=pieces + [('<mask>', 0.0)])
    tokenizer.save_pretrained(tmp_path)
    transformers.BertForMaskedLM(transformers.BertConfig(
        vocab_size=len(tokenizer), hidden_size=8, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=16, initializer_range=0.3)).save_pretrained(tmp_path)
    compare(tmp_path, pipeline(tmp_path), [
        'the film <mask> so good.', '<mask> film, <mask>s so', 'the<mask> 电 <mask>'])
