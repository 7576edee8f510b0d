"""Folders like those of the hub's checkpoints open here, and the outputs are those of transformers
and sentence-transformers. docs/models.rst says what is unusual in each."""
import pathlib

import mxnet as mx
import numpy as np
import pytest
from support import hub_models
from support.hub_models import PAIRS, TEXTS, assert_close, assert_same_entities, read_by

import bert
from bert.errors import UserError
from bert.model import zoo

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings('ignore')]
PAGE = pathlib.Path(__file__).resolve().parents[2] / 'docs' / 'models.rst'


def rows(table):
    return pytest.mark.parametrize('row', table, ids=[row.ids.split()[0] for row in table])


# ---- Texts


@rows(hub_models.SENTENCE_ROWS)
def test_sentence_transformers(tmp_path, data_dir, sentence_transformers, row):
    folder = tmp_path / 'model'
    hub_models.write_sentence_model(row, folder, data_dir)
    theirs = sentence_transformers.SentenceTransformer(str(folder), device='cpu',
                                                       model_kwargs={'dtype': 'float32'})
    # open reads the folder twice, which takes long for a large vocabulary
    is_large = row.vocabulary_size or row.vocabulary == 'unigram'
    ours = (bert.Embedder if is_large else bert.open)(str(folder))
    assert theirs.max_seq_length == ours.sentence_model.max_seq_length == row.length
    assert_close(ours(TEXTS), theirs.encode(TEXTS))
    assert_close(ours.encode_query(TEXTS), theirs.encode_query(TEXTS))


@rows(hub_models.CROSS_ENCODER_ROWS)
def test_cross_encoders(tmp_path, data_dir, sentence_transformers, row):
    hub_models.write_model(row, tmp_path / 'bert', data_dir)
    early = sentence_transformers.CrossEncoder(str(tmp_path / 'bert'), device='cpu')
    early.save(str(tmp_path / 'model'))
    theirs = sentence_transformers.CrossEncoder(str(tmp_path / 'model'), device='cpu')
    for name, model in (('bert', early), ('model', theirs)):
        ours = bert.open(str(tmp_path / name))
        assert_close([record.score for record in ours(PAIRS)], model.predict(PAIRS))
        ranking = ours.rank(TEXTS[1], TEXTS)
        expected = model.rank(TEXTS[1], TEXTS)
        assert [entry.document for entry in ranking] == [entry['corpus_id'] for entry in expected]
        assert_close([entry.score for entry in ranking], [entry['score'] for entry in expected])


@rows(hub_models.CLASSIFIER_ROWS + hub_models.MULTI_LABEL_ROWS)
def test_classifiers(tmp_path, data_dir, torch, transformers, row):
    network = hub_models.write_model(row, tmp_path, data_dir)
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(tmp_path))
    classifier = bert.open(str(tmp_path))
    assert classifier.task['labels'] == list(network.config.id2label.values())
    for items in (TEXTS, PAIRS):
        for item, record in zip(items, classifier(items), strict=True):
            texts = (item,) if isinstance(item, str) else item
            with torch.no_grad():
                logits = network(**read_by(tokenizer, *texts)).logits[0]
            expected = logits.sigmoid() if row in hub_models.MULTI_LABEL_ROWS else \
                logits.softmax(dim=0)
            assert_close(list(record.probabilities.values()), expected)


@rows(hub_models.ANSWERING_ROWS)
def test_question_answering(tmp_path, data_dir, torch, transformers, row):
    """The answers' order and odds are those of the logits of their first and last tokens."""
    network = hub_models.write_model(row, tmp_path, data_dir)
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(tmp_path))
    answerer = bert.open(str(tmp_path))
    for question in TEXTS[1:3]:
        for document in TEXTS[1:9]:
            inputs = tokenizer(question, document, return_tensors='pt',
                               return_offsets_mapping=True)
            spans = inputs.pop('offset_mapping')[0].tolist()
            with torch.no_grad():
                outputs = network(**inputs)
            scores = {}     # of the first token's start and the last token's end
            inside = [i for i, text in enumerate(inputs.sequence_ids()) if text == 1]
            for first in inside:
                for last in range(first, inside[-1] + 1):
                    score = outputs.start_logits[0, first] + outputs.end_logits[0, last]
                    text = document[spans[first][0]:spans[last][1]]
                    scores[text] = max(scores.get(text, -np.inf), float(score))
            answers = answerer(question, document, top_k=5).answers
            expected = sorted(scores.values(), reverse=True)[:5]
            assert answers
            assert_close([scores[answer.answer] for answer in answers], expected[:len(answers)])
            assert_close([np.log(answers[0].probability / answer.probability)
                          for answer in answers],
                         [expected[0] - score for score in expected[:len(answers)]])


# ---- Tokens


@rows(hub_models.TOKEN_ROWS)
def test_token_classification(tmp_path, data_dir, transformers, row):
    """Entities by tokens of texts of one window: transformers cuts longer ones, and guesses where
    words begin."""
    network = hub_models.write_model(row, tmp_path, data_dir)
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(tmp_path))
    tagger, texts = bert.open(str(tmp_path)), [text for text in TEXTS if len(text) < 100]
    assert tagger.task['labels'] == list(network.config.id2label.values())
    for aggregation in ('none', 'simple'):
        theirs = transformers.pipeline('token-classification', model=network, tokenizer=tokenizer,
                                       aggregation_strategy=aggregation)
        for text, records in zip(texts, tagger(texts, aggregation), strict=True):
            assert_same_entities(records, theirs(text) if text else [], aggregation)


@rows(hub_models.ENCODER_ROWS)
def test_encoders(tmp_path, data_dir, torch, transformers, row):
    network = hub_models.write_model(row, tmp_path, data_dir)
    tokenizer = transformers.BertTokenizer.from_pretrained(str(tmp_path))
    embedder = bert.Embedder(str(tmp_path))
    for text, (pieces, vectors) in zip(TEXTS, embedder.words(TEXTS, pieces=True), strict=True):
        inputs = read_by(tokenizer, text)
        assert pieces == tokenizer.convert_ids_to_tokens(inputs['input_ids'][0, 1:-1])
        with torch.no_grad():
            hidden = network.base_model(**inputs).last_hidden_state[0, 1:-1]
        assert_close(vectors, hidden)
    if hasattr(network, 'cls'):
        compare_token_logits(tmp_path, network, read_by(tokenizer, TEXTS[1]))
        compare_filled_masks(tmp_path, transformers.FillMaskPipeline(
            model=transformers.BertForMaskedLM.from_pretrained(tmp_path), tokenizer=tokenizer))


def compare_token_logits(folder, network, inputs):
    """The logits of a masked language model."""
    ours, _ = zoo.load_checkpoint(str(folder), use_pooler=False, use_decoder=True)
    length = inputs['input_ids'].shape[1]
    outputs = ours(mx.nd.array(inputs['input_ids'].numpy(), dtype='int32'),
                   mx.nd.array(inputs['token_type_ids'].numpy(), dtype='int32'),
                   mx.nd.array([length]), mx.nd.arange(length).reshape((1, -1)))
    assert_close(outputs[-1].asnumpy(), network(**inputs)[0].detach())


def compare_filled_masks(folder, theirs):
    """The likeliest words, and the texts with them."""
    texts = ['[MASK] ' + text for text in TEXTS if len(text) < 100 and '[MASK]' not in text]
    for words, expected_words in zip(bert.open(str(folder), task='fill_mask')(texts),
                                     theirs(texts), strict=True):
        assert [tuple(word)[1:] for word in words] == [
            (word['token'], word['token_str'], word['sequence']) for word in expected_words]
        assert_close([word.score for word in words], [word['score'] for word in expected_words])


@pytest.mark.parametrize('name', ['BertJapaneseTokenizer', 'BertJapaneseTokenizerFast'])
def test_bert_base_japanese(tmp_path, data_dir, transformers, name):
    """tohoku-nlp/bert-base-japanese and its third version."""
    hub_models.write_model(hub_models.ENCODER_ROWS[-1], tmp_path, data_dir)
    (tmp_path / 'tokenizer_config.json').write_text('{"tokenizer_class": "%s"}' % name)
    with pytest.raises(UserError, match='"BertJapaneseTokenizer": this tokenizer first splits '
                                        'Japanese text into words with MeCab, which is not '
                                        'supported'):
        bert.open(str(tmp_path))


def test_the_page_names_every_checkpoint():
    page = PAGE.read_text(encoding='utf-8')
    tables = (hub_models.SENTENCE_ROWS, hub_models.CROSS_ENCODER_ROWS, hub_models.CLASSIFIER_ROWS,
              hub_models.MULTI_LABEL_ROWS, hub_models.ANSWERING_ROWS, hub_models.TOKEN_ROWS,
              hub_models.ENCODER_ROWS)
    names = [name for table in tables for row in table for name in row.ids.split()]
    assert len(set(names)) == len(names) > 50
    assert [name for name in names if name not in page] == []
