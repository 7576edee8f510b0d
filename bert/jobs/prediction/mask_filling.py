"""Writes the words that a masked language model finds for the masks of texts."""
import json
import sys

from bert.data.glue.labels import one_line
from bert.jobs.prediction.classification import open_output, read_input_examples
from bert.pipelines.mask_filling import TOP_K
from bert.pipelines.records import TextCounts
from bert.train.log import progress_bar

COLUMNS = 'text', 'mask', 'score', 'word', 'sequence'


def write_words(model, options, explicit):
    """Write one line per word with an open `MaskFiller`, or a line of JSON per text. Returns the
    number of texts."""
    examples, counts = read_input_examples(options, pair=False), TextCounts()
    model.batch_size = options.batch_size
    results = model.fill_examples(examples, options.top_k or TOP_K, options.targets, counts)
    with open_output(options.output) as out, progress_bar(len(examples), unit='text') as bar:
        if options.format == 'tsv':
            out.write('\t'.join(COLUMNS) + '\n')
        for number, (example, result) in enumerate(zip(examples, results), 1):
            masks = result if isinstance(result[0], list) else [result]
            out.write(format_words(number, example.texts[0], masks, options.format))
            bar.update(1)
    if counts.num_cut:
        print('warning: %d of %d texts were cut at %d tokens, the length of the model; no mask was '
              'cut off' % (counts.num_cut, counts.num_texts, model.max_len), file=sys.stderr)
    return len(examples)


def format_words(number, text, masks, output_format):
    """The lines of a text. masks: for each mask its [`FilledMask`]. In tab-separated values, tabs
    and line ends are replaced by spaces; texts and their masks are numbered from 1."""
    if output_format == 'jsonl':
        masks = [[word._asdict() for word in words] for words in masks]
        return json.dumps({'text': text, 'masks': masks}, ensure_ascii=False,
                          allow_nan=False) + '\n'
    return ''.join('%d\t%d\t%.4f\t%s\t%s\n' % (
        number, i, word.score, one_line(word.word), one_line(word.sequence))
        for i, words in enumerate(masks, 1) for word in words)
