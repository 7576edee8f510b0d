"""RoBERTa's tokenizer from the two files with byte pairs that old releases of transformers write:
vocab.json and merges.txt."""
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

from bert.errors import UserError

# Its unknown, padding, first and last token, and its mask, where no file names them
BYTE_PAIR_TOKENS = ('<unk>', '<pad>', '<s>', '</s>', '<mask>')


def make_byte_pairs(paths, special_tokens, added_tokens, flags, prefix, trim):
    """The `tokenizers.Tokenizer` of the two files, whose paths are given.

    special_tokens: in the order of BYTE_PAIR_TOKENS. added_tokens: [`AddedToken`], those among
    them. flags: {special token: its flags} that differ from the usual ones. prefix: whether a space
    is put before a text; trim: whether the offsets of tokens leave spaces out. Raises `UserError`.
    """
    try:
        backend = Tokenizer(models.BPE.from_file(*paths))
    except Exception as error:      # the library raises nothing more specific
        raise UserError('%s and %s: the library tokenizers can\'t read them: %s'
                        % (*paths, error)) from None
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    backend.decoder = decoders.ByteLevel()
    for token in added_tokens:
        if token.content in flags:
            token = AddedToken(token.content, **{'special': True, 'normalized': False,
                                                 **flags[token.content]})
        (backend.add_special_tokens if token.special else backend.add_tokens)([token])
    cls, sep = special_tokens[2:4]
    backend.post_processor = processors.RobertaProcessing(
        (sep, backend.token_to_id(sep)), (cls, backend.token_to_id(cls)), trim, prefix)
    return backend
