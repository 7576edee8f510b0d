"""A BERT with the tokenizer of XLM-RoBERTa, through every pipeline and job."""
import json
import os

import numpy as np
import pytest
from reference import numpy_bert
from safetensors.numpy import load_file
from support import tiny, unigram

import bert
from bert.errors import UserError
from bert.jobs import (
    convert_checkpoint,
    export_onnx,
    finetune_classifier,
    finetune_squad,
    predict_labels,
    pretrain,
    quantize,
)
from bert.model import zoo
from bert.pipelines.embedding import BertEmbedding

TEXTS = ['a bc b', 'c', 'a a a b']
# {text: token ids by hand}: <s> 0, </s> 2, ▁a 4, ▁b 5, c 6, ▁ 7
IDS = {'a bc b': [4, 5, 6, 5], 'c': [7, 6], 'a a a b': [4, 4, 4, 5]}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return unigram.write_checkpoint(tmp_path_factory.mktemp('model') / 'bert')


@pytest.fixture(scope='module')
def run(folder, tmp_path_factory):
    """The folder of a fine-tuned classifier of pairs."""
    root = tmp_path_factory.mktemp('run')
    rows = [(first, second, label) for first in TEXTS for second in TEXTS for label in ('0', '1')]
    path = tiny.write_tsv(root / 'train.tsv', ('first', 'second', 'label'), rows)
    return finetune_classifier(
        bert_checkpoint=folder, train_file=path, dev_file=path, text_columns='first,second',
        label_column='label', max_len=12, epochs=1, batch_size=6, seed=1,
        output_dir=str(root / 'run')).folder


def states_of(folder, token_ids):
    """The last hidden states (tokens, units) of token ids, by the reference."""
    return numpy_bert.sequence(load_file(os.path.join(folder, 'model.safetensors')),
                               unigram.CONFIG, [token_ids], [[0] * len(token_ids)])[0]


def test_vectors(folder):
    embedding = BertEmbedding(bert_checkpoint=folder)
    for text, (words, vectors) in zip(TEXTS, embedding(TEXTS)):
        expected = states_of(folder, [0] + IDS[text] + [2])
        assert words == text.split()
        pieces = expected[1:-1]
        if text == 'a bc b':
            pieces = [pieces[0], pieces[1:3].mean(axis=0), pieces[3]]
        elif text == 'c':
            pieces = [pieces.mean(axis=0)]
        np.testing.assert_allclose(vectors, pieces, atol=1e-5)
        np.testing.assert_allclose(embedding.sentence([text], normalize=False)[0],
                                   expected.mean(axis=0), atol=1e-5)


def test_the_vocabulary_of_get_model(folder):
    _, vocabulary = zoo.load_checkpoint(folder)
    assert vocabulary.idx_to_token == [*unigram.PIECES, '<mask>']
    assert (vocabulary.cls_token, vocabulary.sep_token) == ('<s>', '</s>')
    assert json.loads(vocabulary.tokenizer_json)['truncation'] is None


def test_a_run_holds_its_tokenizer(run, folder, tmp_path):
    steps = [name for name in os.listdir(run) if name.startswith('step-')]
    names = set(os.listdir(os.path.join(run, steps[0])))
    assert {'tokenizer.json', 'tokenizer_config.json'} <= names and 'vocab.txt' not in names
    model = bert.open(run)
    assert model.tokenizer.frame(pair=True).num_specials == 4
    labels = model([('a bc b', 'c')])
    convert_checkpoint(input=run, output=str(tmp_path / 'hf'))
    assert set(os.listdir(tmp_path / 'hf')) == {
        'config.json', 'model.safetensors', 'task.json', 'tokenizer.json', 'tokenizer_config.json',
        'conversion.json'}
    converted = bert.open(str(tmp_path / 'hf'))
    assert converted([('a bc b', 'c')]) == labels
    assert converted.tokenizer.definition == model.tokenizer.definition
    export_onnx(model_dir=run, output_dir=str(tmp_path / 'onnx'))
    exported, = bert.open(str(tmp_path / 'onnx'))([('a bc b', 'c')])
    np.testing.assert_allclose(exported.probability, labels[0].probability, atol=1e-4)


def test_labels_of_a_file(run, tmp_path, capsys):
    path = tiny.write_tsv(tmp_path / 'pairs.tsv', ('first', 'second'), [('a', 'bc'), ('b', 'c')])
    predict_labels(model_dir=run, file=path, text_columns='first,second')
    assert len(capsys.readouterr().out.splitlines()) == 3


@pytest.mark.exhaustive
def test_quantized(run, tmp_path):
    train, dev = (tiny.write_tsv(tmp_path / name, ('first', 'second', 'label'),
                                 [(word, 'bc', '0'), (word, 'c', '1')] * 8)
                  for name, word in (('train.tsv', 'a'), ('dev.tsv', 'b')))
    result = quantize(model_dir=run, train_file=train, dev_file=dev, text_columns='first,second',
                      label_column='label', output_dir=str(tmp_path / 'int8'), calib_mode='none')
    assert 'tokenizer.json' in os.listdir(result.folder)
    assert len(bert.open(result.folder)([('a', 'b')])) == 1


def test_answers(folder, tmp_path):
    content = {'version': '1.1', 'data': [{'title': '', 'paragraphs': [{
        'context': ' a bc  b c a', 'qas': [{'id': str(i), 'question': 'b a', 'answers': [
            {'text': 'bc', 'answer_start': 3}]} for i in range(4)]}]}]}
    (tmp_path / 'train.json').write_text(json.dumps(content))
    files = dict(bert_checkpoint=folder, train_file=str(tmp_path / 'train.json'),
                 dev_file=str(tmp_path / 'train.json'))
    result = finetune_squad(
        **files, max_seq_length=16, max_query_length=4, doc_stride=4, epochs=20, batch_size=4,
        lr=1e-2, output_dir=str(tmp_path / 'run'))
    answer = bert.open(result.folder)('b a', ' a bc  b c a').answers[0]
    assert (answer.answer, answer.start, answer.end) == ('bc', 3, 5)
    with pytest.raises(UserError, match='--max_seq_length 8: expected more than --max_query_length '
                                        '4 and 4 special tokens together'):
        finetune_squad(**files, max_seq_length=8, max_query_length=4,
                       output_dir=str(tmp_path / 'short'))
    with pytest.raises(UserError, match='--uncased: the tokenizer.json of this model has its own'):
        finetune_squad(**files, uncased=True, output_dir=str(tmp_path / 'case'))


def test_raw_text_is_refused(folder, tmp_path):
    (tmp_path / 'text.txt').write_text('a b c\n\nb c\n')
    with pytest.raises(UserError, match='--data with --raw: this model has its own tokenizer.json'):
        pretrain(bert_checkpoint=folder, data=str(tmp_path / 'text.txt'), raw=True,
                 max_seq_length=16, ckpt_dir=str(tmp_path / 'run'))
