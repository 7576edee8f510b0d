"""A BERT of 2 layers with the tokenizer of XLM-RoBERTa in small."""
import json

from reference import numpy_bert
from support import tiny
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from bert.model.bert import BertConfig

PIECES = ('<s>', '<pad>', '</s>', '<unk>', '▁a', '▁b', 'c', '▁')
CONFIG = BertConfig(num_layers=2, units=8, hidden_size=16, num_heads=2, max_length=40,
                    vocab_size=len(PIECES) + 1)


def unigram():
    """A tokenizer.json, with truncation and padding, which some files on the hub have."""
    backend = Tokenizer(models.Unigram([(piece, -float(i)) for i, piece in enumerate(PIECES)],
                                       unk_id=3))
    backend.normalizer = normalizers.NFKC()
    backend.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    backend.decoder = decoders.Metaspace()
    backend.post_processor = processors.TemplateProcessing(
        single='<s> $A </s>', pair='<s> $A </s> </s> $B </s>',
        special_tokens=[('<s>', 0), ('</s>', 2)])
    backend.add_special_tokens(['<s>', '<pad>', '</s>', '<unk>', '<mask>'])
    backend.enable_truncation(3)
    backend.enable_padding(length=9, pad_id=1, pad_token='<pad>')
    return json.loads(backend.to_str())


def write_checkpoint(folder):
    """Write a checkpoint in Hugging Face layout with random weights. Returns its path."""
    tensors = {name: tensor for name, tensor in numpy_bert.random_tensors(CONFIG, 0).items()
               if not name.startswith('cls.')}
    tiny.write_transformers(folder, tensors, CONFIG, ())
    (folder / 'vocab.txt').unlink()
    (folder / 'tokenizer.json').write_text(json.dumps(unigram()), encoding='utf-8')
    (folder / 'tokenizer_config.json').write_text('{"tokenizer_class": "XLMRobertaTokenizerFast"}')
    return str(folder)
