"""The ids of our tokenizers equal those of transformers, for every kind of tokenizer file.

The short run takes a sample of the texts of the shared data, --all takes all of them.
"""
import json

import pytest
from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from benchmarks.weights import tokenizer as corpus
from bert.data.text.tokenizer import BertTokenizer
from bert.model.weights import tokenizer_files

# Characters with rules of their own: accents, full-width, Chinese, control, emoji, literal tokens
HARD_TEXTS = ['', ' ', 'Café CAFÉ ﬁ Ａ 电影 ① ё Й', 'a\u0301 b\u200bc\ufeff d\x00e\tf\ng',
              '👩‍👩‍👧 ¿qué? œ ß İ ı', '[CLS] a [SEP] <s> </s> a <mask> b[MASK]<ent> [unused1]',
              "don't can't x" + 'y' * 300, 'देवनागरी ไทย 한국어 日本語', '(a)-_b/c\\d  e ']
TEXTS_OF_TRAINING = 3000        # for a Unigram or BPE tokenizer
VOCABULARY_SIZE = 4000          # of these
CHUNK = 10000                   # texts in one call
ROBERTA_TOKENS = ['<s>', '<pad>', '</s>', '<unk>', '<mask>']

pytestmark = pytest.mark.torch


@pytest.fixture(scope='module')
def texts(data_dir, request):
    texts = corpus.texts_of(data_dir)
    return HARD_TEXTS + (texts if request.config.option.all else corpus.sample_of(texts)[::4])


def compare(folder, texts, transformers):
    """Ids, spans, and special tokens around pairs are those of transformers."""
    theirs = transformers.AutoTokenizer.from_pretrained(str(folder))
    vocabulary, cased = tokenizer_files.read_folder_tokenizer(str(folder))
    ours = BertTokenizer(vocabulary, lower=not cased)
    assert vocabulary.tokenizer_json is None or len(vocabulary) == len(theirs)
    for start in range(0, len(texts), CHUNK):
        chunk = texts[start:start + CHUNK]
        ids = theirs(chunk, add_special_tokens=False)['input_ids']
        for text, row, expected in zip(chunk, ours.encode(chunk), ids):
            assert row.tolist() == expected, text
    is_trimmed = vocabulary.tokenizer_json is not None
    encodings = theirs(texts[:2000], add_special_tokens=False, return_offsets_mapping=True)
    for text, spans, (_, row) in zip(texts, encodings['offset_mapping'],
                                     ours.encode_with_spans(texts[:2000])):
        assert row.tolist() == [trim(text, *span) if is_trimmed else list(span)
                                for span in spans], text
    for pair in zip(texts[:100], texts[100:200]):
        encoding = theirs(*pair, return_token_type_ids=True)
        framed = ours.frame(pair=True).join(ours.encode(list(pair)))
        assert framed[0].tolist() == encoding['input_ids']
        assert framed[1].tolist() == encoding['token_type_ids']
        framed = ours.frame(pair=False).join(ours.encode([pair[0]]))
        assert framed[0].tolist() == theirs(pair[0])['input_ids']


def trim(text, start, end):
    """A span without the spaces at its ends, unless it has no other characters."""
    while text[start:end].strip() and text[start].isspace():
        start += 1
    while text[start:end].strip() and text[end - 1].isspace():
        end -= 1
    return [start, end]


# BERT's own


@pytest.mark.parametrize('name, settings', [
    ('bert-base-uncased', None),
    ('bert-base-cased', {}),                                # Bio_ClinicalBERT: case unsaid
    ('bert-base-cased', {'do_lower_case': False}),
    ('bert-base-multilingual-uncased', {'strip_accents': False}),   # dbmdz/bert-base-german-uncased
    ('bert-base-chinese', {'do_lower_case': False}),
    ('bert-base-multilingual-cased', {'do_lower_case': False, 'strip_accents': True,
                                      'tokenize_chinese_chars': False}),
])
@pytest.mark.parametrize('has_json', [False, True])
def test_word_piece(tmp_path, data_dir, texts, transformers, name, settings, has_json):
    """has_json: with the files that today's transformers saves, and added tokens."""
    content = (data_dir / 'vocab' / (name + '.txt')).read_bytes()
    (tmp_path / 'vocab.txt').write_bytes(content)
    (tmp_path / 'config.json').write_text('{"model_type": "bert"}')
    if settings is not None:
        (tmp_path / 'tokenizer_config.json').write_text(json.dumps(settings))
    if not has_json:
        (tmp_path / 'added_tokens.json').write_text('{}')
        compare(tmp_path, texts, transformers)
        return
    saved = transformers.AutoTokenizer.from_pretrained(str(tmp_path))
    saved.add_tokens(['<ent>'])
    saved.add_special_tokens({'additional_special_tokens': ['[unused1]', '<e2>']})
    saved.save_pretrained(str(tmp_path / 'saved'))
    (tmp_path / 'saved' / 'config.json').write_text('{"model_type": "bert"}')
    compare(tmp_path / 'saved', texts, transformers)


def test_added_tokens_of_early_files(tmp_path, data_dir, texts, transformers):
    content = (data_dir / 'vocab' / 'bert-base-uncased.txt').read_bytes()
    (tmp_path / 'vocab.txt').write_bytes(content)
    for name, values in (('config', {'model_type': 'bert'}), ('added_tokens', {'<ent>': 30522}),
                         ('special_tokens_map', {
                             'additional_special_tokens': ['<e2>'],
                             'mask_token': {'content': '[MASK]', 'lstrip': True, 'rstrip': False,
                                            'single_word': False, 'normalized': False}})):
        (tmp_path / (name + '.json')).write_text(json.dumps(values))
    compare(tmp_path, texts, transformers)


# Unigram and BPE


def xlm_roberta():
    backend = Tokenizer(models.Unigram())
    backend.normalizer = normalizers.Sequence([
        normalizers.NFKC(), normalizers.Replace(Regex(' {2,}'), ' ')])
    backend.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    backend.decoder = decoders.Metaspace()
    return backend, trainers.UnigramTrainer(
        vocab_size=VOCABULARY_SIZE, special_tokens=ROBERTA_TOKENS, unk_token='<unk>',
        show_progress=False)


def albert():
    """Metaspace alone: the spans of its tokens hold the spaces before them."""
    backend, trainer = xlm_roberta()
    backend.normalizer = normalizers.Sequence([normalizers.NFKD(), normalizers.StripAccents(),
                                               normalizers.Lowercase()])
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    return backend, trainer


def roberta():
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return backend, trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE, special_tokens=ROBERTA_TOKENS, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet())


def plain_bpe():
    backend = Tokenizer(models.BPE(unk_token='<unk>'))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return backend, trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE, special_tokens=ROBERTA_TOKENS, show_progress=False)


@pytest.mark.parametrize('make, class_name', [
    (xlm_roberta, 'PreTrainedTokenizerFast'), (albert, 'TokenizersBackend'),
    (roberta, 'RobertaTokenizer'), (plain_bpe, 'PreTrainedTokenizerFast')])
def test_tokenizer_json(tmp_path, texts, transformers, make, class_name):
    """Trained on a sample; the file has truncation and padding, which are left out."""
    backend, trainer = make()
    backend.train_from_iterator(texts[::max(1, len(texts) // TEXTS_OF_TRAINING)], trainer)
    ends = [(token, backend.token_to_id(token)) for token in ('<s>', '</s>')]
    backend.post_processor = processors.RobertaProcessing(
        *reversed(ends), add_prefix_space=False) if make is roberta else \
        processors.TemplateProcessing(single='<s> $A </s>', pair='<s> $A </s> </s> $B:1 </s>:1',
                                      special_tokens=ends)
    saved = transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token='<unk>', pad_token='<pad>', cls_token='<s>',
        sep_token='</s>', mask_token='<mask>')
    saved.add_tokens(['<ent>'])
    saved.save_pretrained(str(tmp_path))
    definition = json.loads((tmp_path / 'tokenizer.json').read_text(encoding='utf-8'))
    definition.update(truncation={'max_length': 5, 'strategy': 'LongestFirst', 'stride': 0,
                                  'direction': 'Right'},
                      padding={'strategy': {'Fixed': 9}, 'direction': 'Right', 'pad_id': 1,
                               'pad_type_id': 0, 'pad_token': '<pad>', 'pad_to_multiple_of': None})
    (tmp_path / 'tokenizer.json').write_text(json.dumps(definition), encoding='utf-8')
    settings = json.loads((tmp_path / 'tokenizer_config.json').read_text(encoding='utf-8'))
    (tmp_path / 'tokenizer_config.json').write_text(json.dumps(
        dict(settings, tokenizer_class=class_name)), encoding='utf-8')
    (tmp_path / 'config.json').write_text('{"model_type": "bert"}')
    compare(tmp_path, texts, transformers)
