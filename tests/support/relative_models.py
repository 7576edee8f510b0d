"""Small checkpoints of BERT's relatives, saved by transformers itself: random weights, and
tokenizers of their kinds."""
from support import hub_models

SIZES = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=96)
DISTILBERT_SIZES = dict(dim=64, n_layers=2, n_heads=2, hidden_dim=96)
# {model_type: the beginning of the names of transformers' classes}
CLASSES = {'roberta': 'Roberta', 'xlm-roberta': 'XLMRoberta', 'camembert': 'Camembert',
           'distilbert': 'DistilBert', 'electra': 'Electra', 'ernie': 'Ernie'}
# Values of the published models, which are not all the defaults of the classes
CONFIGS = {
    **dict.fromkeys(('roberta', 'xlm-roberta', 'camembert'), dict(
        SIZES, type_vocab_size=1, layer_norm_eps=1e-5, max_position_embeddings=514)),
    'distilbert': DISTILBERT_SIZES, 'electra': dict(SIZES, embedding_size=32),
    'ernie': dict(SIZES, hidden_act='relu', layer_norm_eps=1e-5, max_position_embeddings=513)}
# Values without dropout
NO_DROPOUT = {'roberta': dict(hidden_dropout_prob=0, attention_probs_dropout_prob=0),
              'distilbert': dict(dropout=0, attention_dropout=0, seq_classif_dropout=0)}
BYTE_PAIRS = 400        # tokens of RoBERTa's vocabulary
PIECES = 300            # of the vocabularies of XLM-RoBERTa and CamemBERT


def write_model(family, head, folder, data_dir, texts, **config):
    """Write a checkpoint of a family. head: the end of the name of transformers' class, such as
    'ForMaskedLM'; texts: what its tokenizer learns from. Returns the network."""
    import torch
    import transformers
    tokenizer = make_tokenizer(family, data_dir, texts)
    tokenizer.save_pretrained(folder)
    name = CLASSES[family]
    settings = getattr(transformers, name + 'Config')(
        vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id,
        **{**CONFIGS[family], **config})
    torch.manual_seed(0)
    network = getattr(transformers, name + head)(settings).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    network.save_pretrained(folder)
    return network


def make_tokenizer(family, data_dir, texts):
    if family == 'roberta':
        return make_byte_pairs(texts)
    if family in ('xlm-roberta', 'camembert'):
        return make_pieces(family)
    return hub_models.make_tokenizer(hub_models.Row(family), data_dir)


def make_byte_pairs(texts):
    """RoBERTa's tokenizer, trained on texts."""
    import json

    import transformers
    from tokenizers import ByteLevelBPETokenizer
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(texts, BYTE_PAIRS, 1, special_tokens=['<s>', '<pad>', '</s>',
                                                                      '<unk>', '<mask>'])
    model = json.loads(trained.to_str())['model']
    return transformers.RobertaTokenizer(
        vocab=model['vocab'], merges=[tuple(pair) for pair in model['merges']],
        model_max_length=512)


def make_pieces(family):
    """XLM-RoBERTa's or CamemBERT's tokenizer, with pieces that stand in texts."""
    import transformers
    starts = {'xlm-roberta': ('<s>', '<pad>', '</s>', '<unk>'),
              'camembert': ('<s>NOTUSED', '<pad>', '</s>NOTUSED', '<unk>', '<unk>NOTUSED')}[family]
    pieces = [(token, 0.0) for token in starts]
    pieces += [(piece, -3.0 - i / 100) for i, piece in enumerate(
        ('▁', '▁the', '▁film', '▁of', 's', 'qu', 'iet', 'Ca', 'f', 'é', '电', '影', 'ion', 'a',
         'e', 'i', 'o', 't', 'n', 'r', '.', ',', '▁A', 'ß', '한', '국', 'ü'))]
    pieces += [('▁invented%d' % i, -20.0) for i in range(PIECES - len(pieces))]
    return getattr(transformers, CLASSES[family] + 'Tokenizer')(
        vocab=pieces + [('<mask>', 0.0)], model_max_length=512)
