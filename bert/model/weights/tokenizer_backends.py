"""Tokenizers of the library `tokenizers`, for folders without a tokenizer.json that counts."""
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from bert.errors import UserError
from bert.tokenizer_definitions import add_tokens


def make_word_piece(tokens, special_tokens, normalizer, source):
    """The `tokenizers.Tokenizer` of BERT's WordPiece. special_tokens: those of BERT in the order of
    `bert.vocabulary.SPECIAL_TOKENS`; source: for messages. Raises `UserError`."""
    unknown, _, cls, sep, _ = special_tokens
    ids = {token: i for i, token in enumerate(tokens)}
    missing = [token for token in (unknown, cls, sep) if token not in ids]
    if missing:
        raise UserError('%s: no %s among its %d tokens: not a BERT vocabulary'
                        % (source, ', '.join(missing), len(tokens)))
    backend = Tokenizer(models.WordPiece(ids, unk_token=unknown))
    backend.normalizer = normalizer
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    backend.post_processor = processors.BertProcessing((sep, ids[sep]), (cls, ids[cls]))
    return backend


def make_byte_pairs(paths, added_tokens, special_tokens, add_prefix_space, trim_offsets):
    """The `tokenizers.Tokenizer` of RoBERTa's vocab.json and merges.txt, whose paths are given.

    added_tokens: [`AddedToken`], with those of special_tokens, which are in the order of
    `bert.vocabulary.SPECIAL_TOKENS`. add_prefix_space: whether a text begins with a space;
    trim_offsets: whether the offsets of tokens leave spaces out. Raises `UserError`.
    """
    try:
        backend = Tokenizer(models.BPE.from_file(*paths))
    except Exception as error:      # the library raises nothing more specific
        raise UserError('%s and %s: the library tokenizers can\'t read them: %s'
                        % (*paths, error)) from None
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    backend.decoder = decoders.ByteLevel()
    add_tokens(backend, added_tokens)
    _, _, cls, sep, _ = special_tokens
    backend.post_processor = processors.RobertaProcessing(
        (sep, backend.token_to_id(sep)), (cls, backend.token_to_id(cls)), trim_offsets,
        add_prefix_space)
    return backend
