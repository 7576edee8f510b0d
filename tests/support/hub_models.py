"""The checkpoints that people load as "a BERT" from the hub: what is unusual in each, as data, and
folders like theirs, small, saved by transformers or sentence-transformers itself."""
import json
import shutil
from typing import NamedTuple

import numpy as np

from bert.vocabulary import read_tokens

SIZES = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
SPECIAL_TOKENS = ('[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]')
TAGS = ('DATE', 'PER', 'ORG', 'LOC')
XLM_ROBERTA_SIZE = 250002       # tokens; the model has 35 rows more
# Texts for all of them
LIMIT = 512
TEXTS = ['', 'The film was so good .', 'Café CAFÉ Ünïcode ÄÖÜ ß', '电影很好看, 我喜欢 it',
         'a\u0301 b\u200bc ﬁ Ａ ① İstanbul', '한국어 日本語 ไทย देवनागरी', '👩‍👧 ¿qué? œ',
         "[MASK] don't (a)-_b/c\\d <s>", 'A dull, lifeless MESS', 'quiet wonder ' * 180,
         'a film of quiet wonder ' * 150]
PAIRS = [*zip(TEXTS[1:], TEXTS[:0:-1]), (TEXTS[-2], TEXTS[-1]), (TEXTS[-1], TEXTS[-2])]
UNCASED, CASED = {'do_lower_case': True}, {'do_lower_case': False}


class Row(NamedTuple):
    """Checkpoints with the same peculiarities.

    ids: their names, with spaces between. vocabulary: a file of the shared data. vocabulary_size:
    to which it is cut, or filled with invented tokens. settings: of the tokenizer, in
    tokenizer_config.json; None: there is no such file. config: other values of `BertConfig`.
    absent: keys that config.json lacks. changes: names of functions here, which change the saved
    files. modules: of sentence-transformers, after the BERT: a pooling, 'Dense', 'Normalize'.
    length: tokens of a text. prompts: {name: text}.
    """
    ids: str
    vocabulary: str = 'bert-base-uncased'
    architecture: str = 'BertModel'
    settings: dict | None = UNCASED
    config: dict = {}
    absent: tuple = ()
    changes: tuple = ()
    vocabulary_size: int | None = None
    modules: tuple = ()
    length: int = 512
    prompts: dict = {}


def labels(*names):
    return {'id2label': dict(enumerate(names)), 'label2id': {name: i for i, name
                                                             in enumerate(names)}}


SENTENCE_ROWS = (
    Row('all-MiniLM-L6-v2', modules=('mean', 'Normalize'), length=256,
        changes=('pad_to_128', 'position_ids')),
    Row('all-MiniLM-L12-v2', modules=('mean', 'Normalize'), length=128,
        changes=('early_tokenizer', 'early_modules', 'torch_file')),
    Row('multi-qa-MiniLM-L6-cos-v1 e5-small e5-base e5-large e5-small-v2 e5-base-v2 e5-large-v2 '
        'gte-small gte-base', modules=('mean', 'Normalize')),
    Row('paraphrase-multilingual-MiniLM-L12-v2', 'unigram', modules=('mean',), length=128),
    Row('multilingual-e5-small', 'unigram', modules=('mean', 'Normalize'),
        changes=('tokenizer_class_in_config',)),
    Row('bge-small-en-v1.5 bge-base-en-v1.5 bge-large-en-v1.5',
        modules=('cls', 'Normalize'), changes=('early_modules',)),
    Row('UAE-Large-V1', modules=('cls',)),
    Row('bge-small-zh-v1.5 bge-base-zh-v1.5 bge-large-zh-v1.5 gte-small-zh gte-base-zh '
        'gte-large-zh', 'bert-base-chinese', modules=('cls', 'Normalize')),
    Row('gte-large', modules=('mean', 'Normalize'), changes=('float16',)),
    Row('snowflake-arctic-embed-xs snowflake-arctic-embed-s snowflake-arctic-embed-m '
        'snowflake-arctic-embed-l', modules=('cls', 'Normalize'), changes=('without_pooler',),
        prompts={'query': 'Represent this sentence for searching relevant passages: '}),
    Row('mxbai-embed-large-v1', modules=('cls',), changes=('float16',),
        prompts={'query': 'Represent this sentence for searching relevant passages: '}),
    Row('LaBSE', 'bert-base-multilingual-cased', settings=CASED, vocabulary_size=501153,
        modules=('cls', 'Dense', 'Normalize'), length=256, changes=('early_modules',)),
)
CROSS_ENCODER_ROWS = (
    Row('ms-marco-MiniLM-L2-v2 ms-marco-MiniLM-L4-v2 ms-marco-MiniLM-L6-v2 ms-marco-MiniLM-L12-v2 '
        'ms-marco-TinyBERT-L2-v2', architecture='BertForSequenceClassification',
        config=dict(labels('LABEL_0'), sentence_transformers={
            'activation_fn': 'torch.nn.modules.linear.Identity'})),
)
CLASSIFIER_ROWS = (
    Row('bert-base-multilingual-uncased-sentiment', 'bert-base-multilingual-uncased',
        'BertForSequenceClassification', changes=('early_tokenizer', 'position_ids'),
        config=labels('1 star', '2 stars', '3 stars', '4 stars', '5 stars')),
    Row('finbert', architecture='BertForSequenceClassification',
        config=labels('positive', 'negative', 'neutral'),
        changes=('early_tokenizer', 'torch_file')),
    Row('bert-base-uncased-imdb bert-base-uncased-MNLI',
        architecture='BertForSequenceClassification', settings=None,
        changes=('early_tokenizer', 'torch_file', 'position_ids'),
        config={'finetuning_task': 'glue:mnli'}),
)
MULTI_LABEL_ROWS = (
    Row('toxic-bert', architecture='BertForSequenceClassification',
        config=dict(labels('toxic', 'severe_toxic', 'obscene'),
                    problem_type='multi_label_classification'), changes=('position_ids',)),
)
ANSWERING_ROWS = (
    Row('bert-large-uncased-whole-word-masking-squad2', architecture='BertForQuestionAnswering',
        settings={'model_max_length': 512},
        changes=('early_tokenizer', 'no_added_tokens', 'other_parts')),
)
TOKEN_ROWS = (
    Row('bert-base-NER bert-large-NER', 'bert-base-cased', 'BertForTokenClassification', CASED,
        labels('O', 'B-MISC', 'I-MISC', 'B-PER', 'I-PER', 'B-ORG', 'I-ORG', 'B-LOC', 'I-LOC'),
        changes=('early_tokenizer', 'no_added_tokens', 'other_parts')),
    Row('bert-base-NER-uncased', architecture='BertForTokenClassification',
        config=labels('O', 'B-PER', 'I-PER')),
    Row('bert-large-cased-finetuned-conll03-english', 'bert-base-cased',
        'BertForTokenClassification', CASED, labels(
            'B-LOC', 'B-MISC', 'B-ORG', 'I-LOC', 'I-MISC', 'I-ORG', 'I-PER', 'O'),
        changes=('early_tokenizer', 'shards')),
    Row('bert-base-multilingual-cased-ner-hrl', 'bert-base-multilingual-cased',
        'BertForTokenClassification', CASED,
        labels('O', *('%s-%s' % (place, tag) for tag in TAGS for place in 'BI'))),
)
# Compared are the vectors of tokens; for a masked language model its logits too
ENCODER_ROWS = (
    Row('scibert_scivocab_uncased', architecture='BertForMaskedLM', vocabulary_size=31090,
        settings=None, absent=('architectures',), changes=('early_tokenizer', 'torch_file')),
    Row('scibert_scivocab_cased', 'bert-base-cased', 'BertForMaskedLM', CASED,
        absent=('architectures',), changes=('early_tokenizer', 'torch_file'),
        vocabulary_size=31116),
    Row('Bio_ClinicalBERT biobert', 'bert-base-cased', 'BertForPreTraining', None,
        absent=('architectures',), changes=('early_tokenizer', 'torch_file', 'gamma_beta')),
    Row('legal-bert', architecture='BertForPreTraining', changes=('own_order', 'early_tokenizer')),
    Row('BiomedBERT', architecture='BertForMaskedLM', settings=None,
        changes=('own_order', 'early_tokenizer', 'torch_file')),
    Row('bert-base-german-uncased', 'bert-base-multilingual-cased', 'BertForMaskedLM',
        {'do_lower_case': True, 'strip_accents': False}, vocabulary_size=31102,
        changes=('early_tokenizer',)),
    Row('bert-base-chinese', 'bert-base-chinese', 'BertForMaskedLM', CASED,
        changes=('early_tokenizer', 'other_parts')),
    Row('chinese-bert-wwm-ext chinese-roberta-wwm-ext', 'bert-base-chinese', 'BertForMaskedLM',
        changes=('no_added_tokens',)),
    Row('klue/bert-base', 'bert-base-multilingual-cased', 'BertForMaskedLM', CASED,
        vocabulary_size=32000, changes=('own_order',)),
    Row('bert-base-multilingual-cased', 'bert-base-multilingual-cased', 'BertForMaskedLM', CASED,
        absent=('model_type', 'layer_norm_eps', 'architectures', 'dtype', 'tie_word_embeddings'),
        changes=('early_tokenizer', 'gamma_beta', 'own_decoder')),
)


# Writing


def write_model(row, folder, data_dir):
    """Write a checkpoint with random weights like those of a `Row`. Returns the network."""
    import torch
    import transformers
    tokenizer = make_tokenizer(row, data_dir)
    tokenizer.save_pretrained(folder)
    size = len(tokenizer) + (35 if row.vocabulary == 'unigram' else 0)
    config = transformers.BertConfig(vocab_size=size, **SIZES, **row.config)
    torch.manual_seed(0)
    network = getattr(transformers, row.architecture)(config).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
        if 'float16' in row.changes:
            network.half()
    network.save_pretrained(folder, max_shard_size='1MB' if 'shards' in row.changes else '1GB')
    change_files(row, folder)
    edit_json(folder / 'config.json', lambda values: [values.pop(key, None) for key in row.absent])
    return network.float()


def make_tokenizer(row, data_dir):
    import transformers
    if row.vocabulary == 'unigram':
        return make_unigram()
    tokens = read_tokens(str(data_dir / 'vocab' / (row.vocabulary + '.txt')))
    if 'own_order' in row.changes:
        tokens = SPECIAL_TOKENS + tuple(token for token in tokens if token not in SPECIAL_TOKENS)
    size = row.vocabulary_size or len(tokens)
    tokens = list(tokens[:size]) + ['invented%d' % i for i in range(size - len(tokens))]
    return transformers.BertTokenizer(vocab={token: i for i, token in enumerate(tokens)},
                                      **dict({'model_max_length': 512}, **(row.settings or {})))


def make_unigram():
    """XLM-RoBERTa's tokenizer with few pieces that stand in texts, and its number of tokens."""
    import transformers
    pieces = [(token, 0.0) for token in ('<s>', '<pad>', '</s>', '<unk>')]
    pieces += [(piece, -3.0 - i / 100) for i, piece in enumerate(
        ('▁', '▁the', '▁film', '▁of', 's', 'qu', 'iet', 'Ca', 'f', 'é', '电', '影', 'ion', 'a',
         'e', 'i', 'o', 't', 'n', 'r', '.', ',', '▁A', 'ß', '한', '국', 'ü'))]
    pieces += [('▁invented%d' % i, -20.0) for i in range(XLM_ROBERTA_SIZE - 1 - len(pieces))]
    return transformers.XLMRobertaTokenizer(vocab=pieces + [('<mask>', 0.0)], model_max_length=512)


def write_sentence_model(row, folder, data_dir):
    """Write a folder of sentence-transformers like those of a `Row`."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules
    bert = folder.with_name('bert')
    write_model(row._replace(changes=[name for name in row.changes if name == 'float16']), bert,
                data_dir)
    transformer = modules.Transformer(str(bert))
    transformer.max_seq_length = row.length
    width = SIZES['hidden_size']
    makers = {'Dense': lambda: modules.Dense(width, width, activation_function=torch.nn.Tanh()),
              'Normalize': modules.Normalize}
    pooling, *later = row.modules
    parts = [transformer, modules.Pooling(width, pooling)] + [makers[name]() for name in later]
    SentenceTransformer(modules=parts, device='cpu', prompts=row.prompts or None).save(
        str(folder), create_model_card=False)
    change_files(row, folder)


# Changes of the files


def change_files(row, folder):
    for change in CHANGES:
        if change.__name__ in row.changes:
            change(folder, row)


def edit_json(path, edit):
    """Change a JSON file by a function of its dictionary."""
    values = json.loads(path.read_text(encoding='utf-8'))
    edit(values)
    path.write_text(json.dumps(values), encoding='utf-8')


def edit_tensors(folder, edit):
    """Change the weights by a function: {name: tensor} → another one."""
    from safetensors.torch import load_file, save_file
    path = str(folder / 'model.safetensors')
    save_file(edit(load_file(path)), path, {'format': 'pt'})


def early_tokenizer(folder, row):
    """vocab.txt instead of tokenizer.json, and only the settings of the row."""
    definition = json.loads((folder / 'tokenizer.json').read_text(encoding='utf-8'))
    (folder / 'vocab.txt').write_text(
        ''.join(token + '\n' for token in definition['model']['vocab']), encoding='utf-8')
    (folder / 'tokenizer.json').unlink()
    path = folder / 'tokenizer_config.json'
    path.unlink()
    if row.settings is not None:
        path.write_text(json.dumps(row.settings))


def no_added_tokens(folder, row):
    (folder / 'added_tokens.json').write_text('{}')


def pad_to_128(folder, row):
    edit_json(folder / 'tokenizer.json', lambda values: values.update(
        truncation={'max_length': 128, 'strategy': 'LongestFirst', 'stride': 0,
                    'direction': 'Right'},
        padding={'strategy': {'Fixed': 128}, 'direction': 'Right', 'pad_id': 0, 'pad_type_id': 0,
                 'pad_token': '[PAD]', 'pad_to_multiple_of': None}))


def early_modules(folder, row):
    """The keys of the first releases of sentence-transformers, and a Dense in a file of PyTorch."""
    edit_json(folder / 'modules.json', lambda modules: [module.update(
        type='sentence_transformers.models.' + module['type'].rpartition('.')[2])
        for module in modules])
    (folder / '1_Pooling' / 'config.json').write_text(json.dumps(dict(
        {'word_embedding_dimension': SIZES['hidden_size']}, **{
            'pooling_mode_%s_token%s' % (name, ending): name in row.modules
            for name, ending in (('cls', ''), ('mean', 's'), ('max', 's'))})))
    (folder / 'sentence_bert_config.json').write_text(json.dumps(
        {'max_seq_length': row.length, 'do_lower_case': False}))
    edit_json(folder / 'tokenizer_config.json', lambda values: values.update(model_max_length=512))
    for name in ('2_Normalize', '3_Normalize'):
        shutil.rmtree(folder / name, ignore_errors=True)
    if 'Dense' in row.modules:
        edit_json(folder / '2_Dense' / 'config.json', lambda values: [
            values.pop(key) for key in ('module_input_name', 'module_output_name')])
        torch_file(folder / '2_Dense', row)


def tokenizer_class_in_config(folder, row):
    name = 'tokenizer_class'
    edit_json(folder / 'tokenizer_config.json', lambda values: values.pop(name))
    edit_json(folder / 'config.json', lambda values: values.update({name: 'XLMRobertaTokenizer'}))


def torch_file(folder, row):
    import torch
    from safetensors.torch import load_file
    path = folder / 'model.safetensors'
    torch.save(load_file(str(path)), str(folder / 'pytorch_model.bin'))
    path.unlink()


def gamma_beta(folder, row):
    edit_tensors(folder, lambda tensors: {
        name.replace('LayerNorm.weight', 'LayerNorm.gamma').replace(
            'LayerNorm.bias', 'LayerNorm.beta'): tensor for name, tensor in tensors.items()})


def position_ids(folder, row):
    import torch
    prefix = '' if row.architecture == 'BertModel' else 'bert.'
    edit_tensors(folder, lambda tensors: dict(
        tensors, **{prefix + 'embeddings.position_ids': torch.arange(512)[None]}))


def without_pooler(folder, row):
    edit_tensors(folder, lambda tensors: {name: tensor for name, tensor in tensors.items()
                                          if not name.startswith('pooler.')})


def own_decoder(folder, row):
    """Copies of the tied word embedding and of its bias."""
    edit_tensors(folder, lambda tensors: dict(tensors, **{
        'cls.predictions.decoder.weight':
            tensors['bert.embeddings.word_embeddings.weight'].clone(),
        'cls.predictions.decoder.bias': tensors['cls.predictions.bias'].clone()}))


def other_parts(folder, row):
    """Parts of the pre-trained model that this architecture doesn't have."""
    import torch
    width = SIZES['hidden_size']
    parts = {'bert.pooler.dense.weight': (width, width), 'bert.pooler.dense.bias': (width,)}
    if row.architecture == 'BertForMaskedLM':
        parts.update({'cls.seq_relationship.weight': (2, width), 'cls.seq_relationship.bias': (2,)})
    edit_tensors(folder, lambda tensors: dict(
        tensors, **{name: torch.randn(shape) for name, shape in parts.items()}))


# In the order in which they are made. The others that rows name are made by `write_model`.
CHANGES = (early_tokenizer, no_added_tokens, early_modules, pad_to_128, tokenizer_class_in_config,
           gamma_beta, position_ids, without_pooler, own_decoder, other_parts, torch_file)


# Comparing


def assert_close(ours, theirs):
    assert np.shape(ours) == np.shape(theirs)
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def read_by(tokenizer, *texts):
    """Tensors of a text or a pair."""
    return tokenizer(*texts, truncation=True, max_length=LIMIT, return_tensors='pt',
                     return_token_type_ids=True)


def assert_same_entities(ours, theirs, aggregation):
    """The records of a text are those of transformers' pipeline."""
    name = 'entity' if aggregation == 'none' else 'entity_group'
    assert [(record[0], record.start, record.end) for record in ours] == [
        (other[name], other['start'], other['end']) for other in theirs]
    assert_close([record.score for record in ours], [other['score'] for other in theirs])
