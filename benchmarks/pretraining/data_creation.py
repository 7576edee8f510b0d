"""Speed and memory of making pre-training data, beside a plain implementation.

Speed: create_pretraining_data.py with one process and with two, and the plain implementation
(plain_examples.py) with gluonnlp's own tokenizer in one process. In each round they run one after
the other, each in a new process, timed from its start to its end. Exit status 1 when ours is not 3
times as fast, or two processes are not 1.8 times as fast as one.

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

MEBIBYTE = 1 << 20
MIN_SPEEDUP, MIN_SPEEDUP_WITH_TWO = 3.0, 1.8
# Flags of the seed's command
SETTINGS = {'max_seq_length': 128, 'max_predictions_per_seq': 20, 'masked_lm_prob': 0.15,
            'short_seq_prob': 0.1}


def make_parser():
    parser = harness.make_parser(__doc__, 'create-pretraining-data.json')
    harness.add_corpus_flags(parser)
    parser.add_argument('--dupe_factor', type=int, default=5)
    parser.add_argument('--repeat', type=int, default=1,
                        help='how often the text is repeated to measure the speed')
    parser.add_argument('--rounds', type=int, default=3, help='0: no speed')
    parser.add_argument('--memory_sizes', type=size_list, default=(), metavar='A,B,…',
                        help='megabytes of text to measure the memory with')
    parser.add_argument('--plain', metavar='FILE', help='make the data of --input_file in the '
                        'plain way, into this file (what the comparison calls in a new process)')
    return parser


def size_list(text):
    try:
        return tuple(int(part) for part in harness.comma_list(text))
    except ValueError:
        raise argparse.ArgumentTypeError('%s found, numbers with commas expected' % text) from None


# The plain implementation


def make_plain_data(args):
    """Read, tokenize, draw and write, as the original's script does."""
    import gluonnlp

    from benchmarks.pretraining import plain_examples
    from bert.model.weights import vocabularies
    from bert.vocabulary import make_vocabulary
    tokens, cased = vocabularies.fetch_vocabulary(args.vocab)
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
    examples = plain_examples.make_examples(
        documents, random.Random(12345), vocabulary.idx_to_token, SETTINGS['max_seq_length'],
        SETTINGS['max_predictions_per_seq'], SETTINGS['masked_lm_prob'],
        SETTINGS['short_seq_prob'], args.dupe_factor)
    write_plain_data(args.plain, examples, vocabulary)


def write_plain_data(path, examples, vocabulary):
    """The original's arrays of Python objects, but not compressed, which is to its advantage."""
    columns = {
        'input_ids': [vocabulary[example['tokens']] for example in examples],
        'segment_ids': [example['segments'] for example in examples],
        'masked_lm_positions': [example['positions'] for example in examples],
        'masked_lm_ids': [vocabulary[example['labels']] for example in examples]}
    arrays = {}
    for name, rows in columns.items():
        arrays[name] = np.empty(len(rows), dtype=object)
        arrays[name][:] = [np.array(row, dtype='int32') for row in rows]
    np.savez(path,
             next_sentence_labels=np.array([example['is_random'] for example in examples]),
             valid_lengths=np.array([len(example['tokens']) for example in examples]), **arrays)


# Ours, and the measurements


def our_command(args, text, folder, num_workers, dupe_factor):
    settings = [part for name, value in SETTINGS.items() for part in ('--' + name, str(value))]
    return [sys.executable, str(harness.REPOSITORY / 'bert' / 'create_pretraining_data.py'),
            '--input_file', str(text), '--vocab', args.vocab, '--output_dir', str(folder),
            '--dupe_factor', str(dupe_factor), '--num_workers', str(num_workers)] + settings


def plain_command(args, text, path):
    return [sys.executable, os.path.abspath(__file__), '--input_file', str(text), '--vocab',
            args.vocab, '--dupe_factor', str(args.dupe_factor), '--plain', str(path)]


def seconds_of(command, environ=None):
    """The seconds that a process takes; SystemExit with its messages when it fails."""
    started = time.time()
    process = subprocess.run(command, env=environ, stderr=subprocess.PIPE, text=True)
    seconds = time.time() - started
    if process.returncode:
        sys.exit('%s failed:\n%s' % (' '.join(command), process.stderr))
    return seconds


def repeat_text(path, target, size):
    """Write the text to `target` again and again, up to `size` bytes or more; returns `target`."""
    content = path.read_bytes().rstrip() + b'\n\n'
    with open(target, 'wb') as out:
        while out.tell() < size:
            out.write(content)
    return target


def measure_speed(args, folder):
    """({way: [seconds in each round]}, results.json of ours with one process)"""
    source = pathlib.Path(args.input_file)
    text = repeat_text(source, folder / 'text.txt',
                       (args.repeat - 1) * source.stat().st_size + 1)
    seconds = {'plain': [], 'one process': [], 'two processes': []}
    for round_number in range(args.rounds):
        seconds['plain'].append(seconds_of(plain_command(args, text, folder / 'plain.npz'),
                                           harness.worker_environ(args.threads)))
        for way, num_workers in (('one process', 1), ('two processes', 2)):
            shutil.rmtree(folder / 'ours', ignore_errors=True)
            seconds[way].append(seconds_of(our_command(args, text, folder / 'ours', num_workers,
                                                       args.dupe_factor)))
            if num_workers == 1:
                report = harness.read_json(folder / 'ours' / 'results.json')
        harness.print_round('round %d' % (round_number + 1), {
            way: values[-1] for way, values in seconds.items()}, '%.1f s', '; ')
    return seconds, report


def summarize(args, seconds, report):
    """The speed in the result file: ratios, sentences a second, and the parts of one process."""
    sentences = report['text']['sentences'] * args.dupe_factor
    pairs = (('ours_over_plain', 'plain', 'one process'),
             ('two_over_one', 'one process', 'two processes'))
    return dict(
        {name: harness.ratio_range(seconds[slow], seconds[fast]) for name, slow, fast in pairs},
        sentences_per_second={way: sentences / float(np.median(values))
                              for way, values in seconds.items()},
        seconds=seconds, parts_of_one_process=report['seconds'],
        share_of_tokenizing=report['seconds']['tokenize'] / sum(report['seconds'].values()))


def measure_memory(args, folder):
    """{MiB of text: {process: peak memory in MiB, and 'seconds', 'sentences'}}"""
    memory = {}
    for size in args.memory_sizes:
        text = repeat_text(pathlib.Path(args.input_file), folder / 'text.txt', size * MEBIBYTE)
        shutil.rmtree(folder / 'ours', ignore_errors=True)
        seconds = seconds_of(our_command(args, text, folder / 'ours', args.threads, 1))
        report = harness.read_json(folder / 'ours' / 'results.json')
        memory[size] = dict({name: value / MEBIBYTE
                             for name, value in report['peak_memory'].items()},
                            seconds=seconds, sentences=report['text']['sentences'])
        print('%d MB of text: %.0f MB in the first process, %.0f MB in the largest worker, %.0f s'
              % (size, memory[size]['this'], memory[size]['largest_worker'], seconds), flush=True)
    return memory


def print_speed(speed):
    for way, value in speed['sentences_per_second'].items():
        print('%-14s %8.0f sentences/s (median)' % (way, value))
    for name, title in (('ours_over_plain', 'one process against the plain way'),
                        ('two_over_one', 'two processes against one')):
        print('%s: %s times as fast' % (title, harness.format_range(speed[name])))
    print('tokenizing takes %.0f %% of one process\'s time' % (100 * speed['share_of_tokenizing']))


def main():
    args = make_parser().parse_args()
    if args.plain:
        return make_plain_data(args)
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        speed = summarize(args, *measure_speed(args, folder)) if args.rounds else None
        memory = measure_memory(args, folder)
    result = harness.make_result(args, speed=speed, memory=memory)
    harness.write_result(args.output, result)
    harness.warn_if_busy(result)
    if speed is None:
        return 0
    print_speed(speed)
    return int(speed['ours_over_plain']['median'] < MIN_SPEEDUP
               or speed['two_over_one']['median'] < MIN_SPEEDUP_WITH_TWO)


if __name__ == '__main__':
    sys.exit(main())
