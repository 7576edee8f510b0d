"""Splits prose into sentences with NLTK's Punkt (Kiss and Strunk 2006)."""
import json

from bert import files

TRAINING_SIZE = 8 << 20     # bytes of training text for Punkt: more text changes little
PUNKT_MODEL = 'tokenizers/punkt_tab/english/'     # path in NLTK's data, if installed


def make_splitter(read_texts):
    """(`PunktSentenceTokenizer`, description of its origin): NLTK's English model if installed,
    else a model trained on `read_texts()`, an iterable of texts."""
    from nltk.tokenize import punkt
    try:
        return punkt.PunktTokenizer('english'), 'NLTK\'s ' + PUNKT_MODEL
    except LookupError:
        pass
    trainer, size = punkt.PunktTrainer(), 0
    for text in read_texts():
        trainer.train(text, finalize=False)
        size += len(text.encode())
        if size >= TRAINING_SIZE:
            break
    trainer.finalize_training()
    return (punkt.PunktSentenceTokenizer(trainer.get_params()),
            'trained on the first %d bytes of the corpus' % size)


def split_sentences(splitter, lines):
    """The sentences of a document; its lines may break anywhere."""
    return splitter.tokenize(' '.join(lines))


def save_splitter(splitter, path):
    """Write the parameters of the splitter as JSON."""
    params = splitter._params
    files.write_json(path, {
        'abbreviations': sorted(params.abbrev_types),
        'collocations': sorted(map(list, params.collocations)),
        'sentence_starters': sorted(params.sent_starters),
        'orthographic_context': dict(sorted(params.ortho_context.items()))})


def load_splitter(path):
    """The splitter that `save_splitter` wrote."""
    from nltk.tokenize import punkt
    with open(path, encoding='utf-8') as file:
        content = json.load(file)
    params = punkt.PunktParameters()
    params.abbrev_types.update(content['abbreviations'])
    params.collocations.update(map(tuple, content['collocations']))
    params.sent_starters.update(content['sentence_starters'])
    params.ortho_context.update(content['orthographic_context'])
    return punkt.PunktSentenceTokenizer(params)
