"""Writes the entities of texts, or the tags of words that are split already."""
import json

from bert.data.glue.labels import one_line
from bert.data.ner.schemes import convert_tags
from bert.data.ner.sentences import TagColumns, read_tagged_file, write_sentence
from bert.errors import UserError
from bert.jobs.prediction.classification import open_output, read_input_examples
from bert.train.log import progress_bar

COLUMNS = 'text', 'type', 'score', 'start', 'end', 'entity'


def write_entities(model, options, explicit):
    """Write a line for each entity with an open `TokenClassifier`, or a line of JSON for each text;
    with --words the tags of words. Returns the number of texts or sentences."""
    model.batch_size = options.batch_size
    if options.words:
        return _write_tags(model, options)
    if options.file and options.file.endswith('.conll'):
        raise UserError('--file %s: CoNLL columns hold words that are split already: give --words'
                        % options.file)
    examples = read_input_examples(options, pair=False)
    results = model.stream((example.texts[0] for example in examples), options.aggregation)
    with open_output(options.output) as out, progress_bar(len(examples), unit='text') as bar:
        if options.format == 'tsv':
            out.write('\t'.join(COLUMNS) + '\n')
        for number, (example, entities) in enumerate(zip(examples, results), 1):
            out.write(format_entities(number, example.texts[0], entities, options.format))
            bar.update(1)
    return len(examples)


def format_entities(number, text, entities, output_format):
    """The lines of a text. entities: its `EntitySpan`s or `TokenTag`s; number: of the text, from 1.
    In tab-separated values, tabs and line ends are replaced by spaces."""
    if output_format == 'jsonl':
        return json.dumps({'text': text, 'entities': [entity._asdict() for entity in entities]},
                          ensure_ascii=False, allow_nan=False) + '\n'
    return ''.join('%d\t%s\t%.4f\t%d\t%d\t%s\n' % (
        number, entity[0], entity.score, entity.start, entity.end,
        one_line(text[entity.start:entity.end])) for entity in entities)


def _write_tags(model, options):
    """Write the tags of --file, whose words are split already. Returns the number of sentences."""
    if options.file in (None, '-') or options.texts or options.text_columns:
        raise UserError('--words: name a file of words with --file: CoNLL columns or .jsonl')
    if options.scheme:
        model.check_tags()
    sentences = read_tagged_file(options.file, TagColumns(options.word_column, has_tags=False))
    words = [sentence.words for sentence in sentences]
    with open_output(options.output) as out, progress_bar(len(words), unit='sentence') as bar:
        for item, tags in zip(words, model.tag_words(words)):
            tags = convert_tags(tags, options.scheme) if options.scheme else tags
            write_sentence(out, item, tags, options.format)
            bar.update(1)
    return len(words)
