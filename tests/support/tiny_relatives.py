"""Small checkpoints of BERT's relatives, written without transformers."""
import dataclasses
import json

import mxnet as mx
import numpy as np
from reference import numpy_bert
from safetensors.numpy import load_file, save_file
from support import tiny
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from bert.families import FAMILIES
from bert.model.bert import BERTModel
from bert.model.classification import BERTClassifier
from bert.model.discriminator import ReplacedTokenDetector
from bert.model.qa import BertForQA
from bert.model.token_classification import BertForTokenClassification
from bert.model.weights import config_files, mapping
from bert.model.weights.tensor_names import BARE_POOLERS

ROBERTA_TOKENS = ('<s>', '<pad>', '</s>', '<unk>', '<mask>', *tiny.WORDS)
ROWS = tiny.CONFIG.max_length + 2       # of RoBERTa's position table


def write_roberta(folder):
    """Write a RoBERTa without a head, as transformers saves it. Returns the folder."""
    folder.mkdir()
    tensors = {name.replace('bert.', ''): tensor
               for name, tensor in numpy_bert.random_tensors(tiny.CONFIG).items()
               if not name.startswith(('cls.', 'bert.pooler.'))}
    positions = 'embeddings.position_embeddings.weight'
    tensors[positions] = np.concatenate([np.full((2, tiny.CONFIG.units), 9, 'float32'),
                                         tensors[positions]])
    words = 'embeddings.word_embeddings.weight'
    tensors[words] = tensors[words][:len(ROBERTA_TOKENS)].copy()
    save_file(tensors, str(folder / 'model.safetensors'), {'format': 'pt'})
    write_config(folder)
    write_tokenizer(folder, ROBERTA_TOKENS)
    return folder


def add_classifier(folder):
    """Give a RoBERTa a random classifier of two classes, and the pooler that early releases of
    transformers saved beside it. Returns the tensors."""
    path, units = str(folder / 'model.safetensors'), tiny.CONFIG.units
    tensors = {'roberta.' + name: tensor for name, tensor in load_file(path).items()}
    rng = np.random.RandomState(0)
    for name, shape in (('roberta.pooler.dense', (units, units)),
                        ('classifier.dense', (units, units)), ('classifier.out_proj', (2, units))):
        tensors[name + '.weight'] = rng.normal(size=shape).astype('float32')
        tensors[name + '.bias'] = rng.normal(size=shape[0]).astype('float32')
    save_file(tensors, path)
    write_config(folder, architectures=['RobertaForSequenceClassification'])
    return tensors


def write_config(folder, **changes):
    values = dict(
        model_type='roberta', num_hidden_layers=tiny.CONFIG.num_layers,
        hidden_size=tiny.CONFIG.units, intermediate_size=tiny.CONFIG.hidden_size,
        num_attention_heads=tiny.CONFIG.num_heads, vocab_size=len(ROBERTA_TOKENS),
        max_position_embeddings=ROWS, type_vocab_size=2, pad_token_id=1)
    (folder / 'config.json').write_text(json.dumps(dict(values, **changes)))


def write_tokenizer(folder, tokens):
    backend = Tokenizer(models.WordLevel({token: i for i, token in enumerate(tokens)}, '<unk>'))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.RobertaProcessing(
        ('</s>', tokens.index('</s>')), ('<s>', tokens.index('<s>')))
    backend.add_special_tokens(list(tokens[:5]))
    backend.save(str(folder / 'tokenizer.json'))
    (folder / 'tokenizer_config.json').write_text(json.dumps(dict(
        tokenizer_class='PreTrainedTokenizerFast', unk_token='<unk>', pad_token='<pad>',
        cls_token='<s>', sep_token='</s>', mask_token='<mask>')))


# Any family with any head, random


# {family: fields of the configuration}; ELECTRA with narrow embeddings
_ROBERTA_FIELDS = dict(token_type_vocab_size=1, position_offset=2, layer_norm_eps=1e-5)
FIELDS = {**dict.fromkeys(('roberta', 'xlm-roberta', 'camembert'), _ROBERTA_FIELDS),
          'distilbert': dict(token_type_vocab_size=0), 'electra': dict(embedding_size=4),
          'ernie': dict(activation='relu', layer_norm_eps=1e-5)}
TAGS = ('O', 'B-PER', 'I-PER')


def make_config(family, **changes):
    """A small configuration, of BERT too."""
    tokens = ROBERTA_TOKENS if family_has_pieces(family) else tiny.TOKENS
    return dataclasses.replace(tiny.CONFIG, **dict(dict(
        FIELDS.get(family, {}), family=family, vocab_size=len(tokens)), **changes))


def family_has_pieces(family):
    """Whether the tokenizer is in tokenizer.json, with RoBERTa's special tokens."""
    return FAMILIES[family].counts_padding


def write_relative(folder, family, head='Model', labels=None, seed=0, **changes):
    """Write a model with random weights in transformers' layout. head: the end of the name of
    transformers' class. changes: of the configuration. Returns the path of the folder."""
    config = make_config(family, **changes)
    folder.mkdir(parents=True)
    save_file(random_tensors(config, head, len(labels or 'ab'), seed),
              str(folder / 'model.safetensors'), {'format': 'pt'})
    (folder / 'config.json').write_text(json.dumps(config_files.config_to_transformers(
        config, config.family_traits.class_prefix + head, int(family_has_pieces(family)), labels)))
    if family_has_pieces(family):
        write_tokenizer(folder, ROBERTA_TOKENS)
    else:
        (folder / 'vocab.txt').write_text('\n'.join(tiny.TOKENS) + '\n', encoding='utf-8')
        (folder / 'tokenizer_config.json').write_text('{"do_lower_case": true}')
    return str(folder)


def random_tensors(config, head, num_classes, seed=0):
    """{transformers' name: array} of a network. Outputs are around 1."""
    network = make_network(config, head, num_classes)
    network.initialize()
    if head != 'ForMaskedLM':
        network(*map(mx.nd.array, ([[2, 3]], [[0, 0]], [2])))   # it sets the head's input width
    random, spread = np.random.RandomState(seed), 0.5 * (8 / config.units) ** 0.5
    arrays = {}
    for name, parameter in network._collect_params_with_prefix().items():
        array = random.normal(size=parameter.shape)
        arrays[name] = (1 + 0.1 * array if name.endswith('gamma') else spread * array).astype(
            'float32')
    for name in [name for name in arrays if name.endswith('decoder.3.weight')]:     # it is tied
        arrays[name] = arrays[name.replace('decoder.3', 'word_embed.0')]
    return mapping.to_transformers(arrays, 'test', config)


def make_network(config, head, num_classes):
    encoder = BERTModel(config, use_pooler=head == 'ForSequenceClassification' or (
        head == 'Model' and config.family_traits.prefix in BARE_POOLERS),
        use_decoder=head == 'ForMaskedLM')
    if head == 'ForSequenceClassification':
        return BERTClassifier(encoder, num_classes)
    if head == 'ForTokenClassification':
        return BertForTokenClassification(encoder, num_classes)
    if head == 'ForQuestionAnswering':
        return BertForQA(encoder)
    return ReplacedTokenDetector(encoder) if head == 'ForPreTraining' else encoder
