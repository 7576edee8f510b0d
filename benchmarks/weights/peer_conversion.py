"""The peer's side of conversion.py: makes models of transformers, and computes with any model.

Answers questions {'job': 'make' | 'outputs' | 'tokenize', …}, each one line of JSON.
"""
import json
import pathlib

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from benchmarks import harness

WORDS = ['word%d' % i for i in range(115)]
TOKENS = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'] + WORDS
ROBERTA_TOKENS = ['<s>', '<pad>', '</s>', '<unk>', '<mask>'] + WORDS
SIZES = dict(vocab_size=len(TOKENS), hidden_size=48, num_hidden_layers=3, num_attention_heads=4,
             intermediate_size=96, max_position_embeddings=40)


def make(folder, architecture, config, dtype='float32', save=None, init=None, seed=0):
    """Save a model with random weights and its vocabulary; returns the names of the files.

    config, save, init: arguments of the configuration, of save_pretrained and of the model."""
    torch.manual_seed(seed)
    network_class = getattr(transformers, architecture)
    keys = network_class.config_class.attribute_map
    options = network_class.config_class(
        **{keys.get(key, key): value for key, value in dict(SIZES, **config).items()})
    model = network_class(options, **(init or {}))
    with torch.no_grad():
        for parameter in model.parameters():    # no part may be 0 or 1 throughout
            parameter += 0.1 * torch.randn_like(parameter)
    model.to(getattr(torch, dtype)).save_pretrained(folder, **(save or {}))
    path = pathlib.Path(folder)
    if options.pad_token_id:
        make_roberta_tokenizer().save_pretrained(folder)
    else:
        (path / 'vocab.txt').write_text(''.join(token + '\n' for token in tokens_for(options)))
        (path / 'tokenizer_config.json').write_text(json.dumps({'do_lower_case': True}))
    return sorted(file.name for file in path.iterdir())


def make_roberta_tokenizer():
    """A tokenizer of words, with RoBERTa's special tokens."""
    backend = Tokenizer(models.WordLevel({token: i for i, token in enumerate(ROBERTA_TOKENS)},
                                         '<unk>'))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.RobertaProcessing(('</s>', 2), ('<s>', 0))
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, cls_token='<s>', pad_token='<pad>', sep_token='</s>',
        unk_token='<unk>', mask_token='<mask>')


def tokens_for(options):
    """The vocabulary of a model: `TOKENS`, cut or filled up to its size."""
    return TOKENS[:options.vocab_size] + ['more%d' % i for i in
                                          range(len(TOKENS), options.vocab_size)]


def load(folder, architecture, options):
    """(model of a folder in float32, {kind of complaint about the weights: names})"""
    loader = getattr(transformers, architecture)
    model, report = loader.from_pretrained(folder, output_loading_info=True, dtype=torch.float32,
                                           **options)
    complaints = {key: sorted(map(str, names)) for key, names in report.items() if names}
    return model.eval(), complaints


@torch.no_grad()
def outputs(folder, architecture, inputs, output, options=None):
    """Write what a model computes for a batch: hidden, pooled, and its head's logits."""
    model, complaints = load(folder, architecture, options or {})
    with np.load(inputs) as archive:
        arguments = {name: torch.from_numpy(archive[name].astype('int64'))
                     for name in archive.files}
    if getattr(model.config, 'type_vocab_size', 0) < 2:      # it knows one segment
        del arguments['token_type_ids']
    encoder = model.base_model
    encoded = encoder(**arguments)
    values = {'hidden': encoded.last_hidden_state, 'pooled': encoded.get('pooler_output')}
    if encoder is not model:
        values.update(head_outputs(type(model).__name__, model(**arguments)))
    np.savez(output, **{name: value.numpy() for name, value in values.items()
                        if value is not None})
    return {'class': type(model).__name__, 'complaints': complaints,
            'id2label': {int(key): label for key, label in model.config.id2label.items()}}


def head_outputs(architecture, result):
    """The logits of any head under the names that both sides use."""
    if 'start_logits' in result:
        return {'span': torch.stack([result.start_logits, result.end_logits], dim=2)}
    if 'prediction_logits' in result:
        return {'token logits': result.prediction_logits,
                'next sentence': result.seq_relationship_logits}
    name = next((name for end, name in (('ForMaskedLM', 'token logits'),
                                        ('ForNextSentencePrediction', 'next sentence'))
                 if architecture.endswith(end)), 'logits')
    return {name: result.logits}


def tokenize(folder, texts):
    """Ids that the folder's tokenizer gives."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    return [tokenizer(text, add_special_tokens=False)['input_ids'] for text in texts]


JOBS = {'make': make, 'outputs': outputs, 'tokenize': tokenize}

if __name__ == '__main__':
    transformers.logging.set_verbosity_error()
    harness.answer_questions(lambda question: JOBS[question.pop('job')](**question))
