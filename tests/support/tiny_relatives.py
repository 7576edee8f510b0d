"""Small checkpoints of BERT's relatives, written without transformers."""
import json

import numpy as np
from reference import numpy_bert
from safetensors.numpy import load_file, save_file
from support import tiny
from tokenizers import Tokenizer, models, pre_tokenizers, processors

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
