"""Scores the entities of a CoNLL file, without a model."""
import itertools
import json

from bert import files
from bert.data.ner.metric import EntityScore
from bert.data.ner.schemes import examine_scheme
from bert.data.ner.sentences import check_tags, read_sentences
from bert.errors import UserError
from bert.jobs.runs.results import JobResult

HEADER_FORMAT = '%-20s  %9s  %9s  %9s  %7s  %9s  %7s'
ROW_FORMAT = '%-20s  %9.4f  %9.4f  %9.4f  %7d  %9d  %7d'
COLUMNS = 'precision', 'recall', 'f1', 'gold', 'predicted', 'right'
ALL = 'all'     # the row of all entities


def evaluate_entities(options, explicit):
    """Print the scores, or write them to --out_file. Returns a `JobResult`. Raises `UserError`."""
    for path in (options.gold, options.predictions):
        if options.out_file:
            files.check_not_input(options.out_file, path, '--out_file')
    score = EntityScore()
    pairs = list(_read_pairs(options))
    for sentences in zip(*pairs):
        examine_scheme(sentences)       # warns of tags that don't fit
    for gold, predicted in pairs:
        score.add(gold.tags, predicted.tags)
    scores = {ALL: score.scores(), 'types': {kind: score.scores(kind) for kind in score.types}}
    if options.out_file:
        files.write_json(options.out_file, scores)
    elif options.json:
        print(json.dumps(scores, indent=1, ensure_ascii=False))
    else:
        print(HEADER_FORMAT % ('type', *COLUMNS))
        for kind, values in [(ALL, scores[ALL]), *scores['types'].items()]:
            print(ROW_FORMAT % (kind, *(values[name] for name in COLUMNS)))
    return JobResult({'metrics': {'dev': scores[ALL]}, 'types': scores['types']})


def _read_pairs(options):
    """Yield (gold, predicted) sentences. Raises `UserError` unless both files have the same words.
    """
    both = [read_sentences(path, options.word_column,
                           -1 if options.tag_column is None else options.tag_column)
            for path in (options.gold, options.predictions)]
    for gold, predicted in itertools.zip_longest(*both):
        if gold is None or predicted is None:
            path, other = options.predictions, gold or predicted
            raise UserError('%s: the file ends too early: %s has a further sentence at line %d: '
                            'expected the same sentences' % (
                                path if predicted is None else options.gold, other.path,
                                other.line))
        _check_words(gold, predicted)
        for sentence in (gold, predicted):
            check_tags(sentence)
        yield gold, predicted


def _check_words(gold, predicted):
    """Raises `UserError` for the first word in which the two sentences differ."""
    for i, words in enumerate(itertools.zip_longest(gold.words, predicted.words)):
        if words[0] != words[1]:
            names = ['the end of the sentence' if word is None else '"%s"' % word
                     for word in words]
            raise UserError('%s:%d: %s found, but %s:%d has %s: expected the same words' % (
                predicted.path, predicted.line_of(i), names[1], gold.path, gold.line_of(i),
                names[0]))
