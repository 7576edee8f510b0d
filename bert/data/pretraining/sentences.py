"""Prose → sentences, by NLTK's Punkt (Kiss and Strunk 2006)."""
import json

from bert import files

TRAINING_SIZE = 8 << 20     # bytes of text that Punkt is trained on: more changes little
MODEL = 'tokenizers/punkt_tab/english/'     # in NLTK's data, when it is installed


def make_splitter(read_texts):
    """(`PunktSentenceTokenizer`, where it is from): NLTK's English model when it is installed
    here, else one trained on `read_texts()`, an iterable of texts."""
    from nltk.tokenize import punkt
    try:
        return punkt.PunktTokenizer('english'), 'NLTK\'s ' + MODEL
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


def split(splitter, lines):
    """The sentences of a document, whose lines may end anywhere."""
    return splitter.tokenize(' '.join(lines))


def save_splitter(splitter, path):
    """Write what was learned as JSON."""
    learned = splitter._params
    files.write_json(path, {
        'abbreviations': sorted(learned.abbrev_types),
        'collocations': sorted(map(list, learned.collocations)),
        'sentence_starters': sorted(learned.sent_starters),
        'orthographic_context': dict(sorted(learned.ortho_context.items()))})


def load_splitter(path):
    """The splitter that `save_splitter` wrote."""
    from nltk.tokenize import punkt
    with open(path, encoding='utf-8') as file:
        saved = json.load(file)
    learned = punkt.PunktParameters()
    learned.abbrev_types.update(saved['abbreviations'])
    learned.collocations.update(map(tuple, saved['collocations']))
    learned.sent_starters.update(saved['sentence_starters'])
    learned.ortho_context.update(saved['orthographic_context'])
    return punkt.PunktSentenceTokenizer(learned)
