"""Speed and memory of making pre-training data, against the published way written plainly.

Speed: create_pretraining_data.py with one process and with two, and the plain way
(plain_examples.py) with gluonnlp's own tokenizer in one process, in each round one after the
other, each in a new process and from its start to its end. Exit status 1 when ours is not 3 times
as fast, or two processes are not 1.8 times as fast as one.

Memory (--memory_sizes): peak memory for texts of growing size, made by repeating the text.
"""
import argparse
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

import numpy as np

from benchmarks import harness

MEGABYTE = 1 << 20
FASTER, FASTER_WITH_TWO = 3.0, 1.8
# Flags of the seed's command
SETTINGS = {'max_seq_length': 128, 'max_predictions_per_seq': 20, 'masked_lm_prob': 0.15,
            'short_seq_prob': 0.1}


def make_parser():
    parser = harness.make_parser(__doc__, 'create-pretraining-data.json')
    parser.add_argument('--input_file', required=True, metavar='FILE',
                        help='one sentence a line, an empty line between documents')
    parser.add_argument('--vocab', default='all_minilm_l6_v2', metavar='NAME',
                        help='a corpus, or a vocab.txt')
    parser.add_argument('--dupe_factor', type=int, default=5)
    parser.add_argument('--repeat', type=int, default=1,
                        help='how often the text is repeated to measure the speed')
    parser.add_argument('--rounds', type=int, default=3, help='0: no speed')
    parser.add_argument('--memory_sizes', type=sizes, default=(), metavar='A,B,…',
                        help='megabytes of text to measure the memory with')
    parser.add_argument('--plain', metavar='FILE', help='make the data of --input_file in the '
                        'plain way, into this file (what the comparison calls in a new process)')
    return parser


def sizes(text):
    try:
        return tuple(int(part) for part in harness.comma_list(text))
    except ValueError:
        raise argparse.ArgumentTypeError('%s found, numbers with commas expected' % text) from None


# The plain way


def make_plainly(args):
    """Read, tokenize, draw and write, as the original's script does."""
    import gluonnlp

    from benchmarks.pretraining import plain_examples
    from bert.model.weights import vocabularies
    from bert.vocabulary import make_vocabulary
    tokens, cased = vocabularies.fetch(args.vocab)
    vocabulary = make_vocabulary(tokens)
    tokenizer = gluonnlp.data.BERTTokenizer(vocabulary, lower=not cased)
    documents = [[]]
    with open(args.input_file, encoding='utf-8') as lines:
        for line in lines:
            line = line.strip()
            if not line:
                documents.append([])
            else:
                documents[-1].append(tokenizer(line))
    documents = [document for document in documents if document]
    examples = plain_examples.make(
        documents, random.Random(12345), vocabulary.idx_to_token, SETTINGS['max_seq_length'],
        SETTINGS['max_predictions_per_seq'], SETTINGS['masked_lm_prob'],
        SETTINGS['short_seq_prob'], args.dupe_factor)
    write_plainly(args.plain, examples, vocabulary)


def write_plainly(path, examples, vocabulary):
    """The original's arrays of Python objects, not compressed, which is to its advantage."""
    columns = {
        'input_ids': [vocabulary[one['tokens']] for one in examples],
        'segment_ids': [one['segments'] for one in examples],
        'masked_lm_positions': [one['positions'] for one in examples],
        'masked_lm_ids': [vocabulary[one['labels']] for one in examples]}
    arrays = {}
    for name, rows in columns.items():
        arrays[name] = np.empty(len(rows), dtype=object)
        arrays[name][:] = [np.array(row, dtype='int32') for row in rows]
    np.savez(path, next_sentence_labels=np.array([one['is_random'] for one in examples]),
             valid_lengths=np.array([len(one['tokens']) for one in examples]), **arrays)


# Ours and the measurements


def our_command(args, text, folder, workers, copies):
    settings = [part for name, value in SETTINGS.items() for part in ('--' + name, str(value))]
    return [sys.executable, str(harness.REPOSITORY / 'bert' / 'create_pretraining_data.py'),
            '--input_file', str(text), '--vocab', args.vocab, '--output_dir', str(folder),
            '--dupe_factor', str(copies), '--num_workers', str(workers)] + settings


def plain_command(args, text, path):
    return [sys.executable, os.path.abspath(__file__), '--input_file', str(text), '--vocab',
            args.vocab, '--dupe_factor', str(args.dupe_factor), '--plain', str(path)]


def seconds_of(command):
    started = time.time()
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return time.time() - started


def repeat_text(path, target, size):
    """Write the text to `target` again and again until there are `size` bytes."""
    content = path.read_bytes().rstrip() + b'\n\n'
    with open(target, 'wb') as out:
        while out.tell() < size:
            out.write(content)
    return target


def measure_speed(args, folder):
    """{way: [seconds in each round]}, the number of sentences and ours' own report."""
    source = pathlib.Path(args.input_file)
    text = repeat_text(source, folder / 'text.txt',
                       (args.repeat - 1) * source.stat().st_size + 1)
    found = {'plain': [], 'one process': [], 'two processes': []}
    for number in range(args.rounds):
        found['plain'].append(seconds_of(plain_command(args, text, folder / 'plain.npz')))
        for way, workers in (('one process', 1), ('two processes', 2)):
            shutil.rmtree(folder / 'ours', ignore_errors=True)
            found[way].append(seconds_of(our_command(args, text, folder / 'ours', workers,
                                                     args.dupe_factor)))
            if workers == 1:
                report = harness.read_json(folder / 'ours' / 'results.json')
        print('round %d: %s' % (number + 1, '; '.join(
            '%s %.1f s' % (way, values[-1]) for way, values in found.items())), flush=True)
    return found, report


def summarize(args, seconds, report):
    sentences = report['text']['sentences'] * args.dupe_factor
    pairs = (('ours_over_plain', 'plain', 'one process'),
             ('two_over_one', 'one process', 'two processes'))
    return dict(
        {name: harness.median_and_range([a / b for a, b in zip(seconds[slow], seconds[fast])])
         for name, slow, fast in pairs},
        sentences_per_second={way: sentences / float(np.median(values))
                              for way, values in seconds.items()},
        seconds=seconds, parts_of_one_process=report['seconds'],
        share_of_tokenizing=report['seconds']['tokenize'] / sum(report['seconds'].values()))


def measure_memory(args, folder):
    """{megabytes of text: what each process had in memory at most, in megabytes}"""
    found = {}
    for size in args.memory_sizes:
        text = repeat_text(pathlib.Path(args.input_file), folder / 'text.txt', size * MEGABYTE)
        shutil.rmtree(folder / 'ours', ignore_errors=True)
        seconds = seconds_of(our_command(args, text, folder / 'ours', args.threads, 1))
        report = harness.read_json(folder / 'ours' / 'results.json')
        found[size] = dict({name: value / MEGABYTE
                            for name, value in report['peak_memory'].items()},
                           seconds=seconds, sentences=report['text']['sentences'])
        print('%d MB of text: %.0f MB in the first process, %.0f MB in the largest worker, %.0f s'
              % (size, found[size]['this'], found[size]['largest_worker'], seconds), flush=True)
    return found


def show(speed):
    for way, value in speed['sentences_per_second'].items():
        print('%-14s %8.0f sentences/s (median)' % (way, value))
    for name, what in (('ours_over_plain', 'one process against the plain way'),
                       ('two_over_one', 'two processes against one')):
        print('%s: %.2f (%.2f–%.2f) times as fast' % (what, speed[name]['median'],
                                                      speed[name]['min'], speed[name]['max']))
    print('tokenizing takes %.0f %% of one process\'s time' % (100 * speed['share_of_tokenizing']))


def main():
    args = make_parser().parse_args()
    if args.plain:
        return make_plainly(args)
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        speed = summarize(args, *measure_speed(args, folder)) if args.rounds else None
        memory = measure_memory(args, folder)
    result = harness.report(args, speed=speed, memory=memory)
    harness.write_json(args.output, result)
    harness.describe(result)
    harness.warn_if_busy(result)
    if speed is None:
        return 0
    show(speed)
    return int(speed['ours_over_plain']['median'] < FASTER
               or speed['two_over_one']['median'] < FASTER_WITH_TWO)


if __name__ == '__main__':
    sys.exit(main())
