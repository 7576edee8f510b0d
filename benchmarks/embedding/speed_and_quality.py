"""Vectors of sentences, ours and sentence-transformers', side by side in one run.

all-MiniLM-L6-v2 with mean pooling and vectors of length 1, on the sentences of the STS benchmark
and, with --paragraphs, on paragraphs of a text. In each round, all contenders embed the same texts
one after the other: ours in float32, bfloat16 and int8, theirs in float32 and bfloat16, with ONNX
Runtime and with OpenVINO, each in batches of 32 texts (their default) and of 256 (ours). Quality is
the correlation of cosines with human scores, and the difference of our vectors from theirs. Exit
status 1 when a correlation in float32 differs by 0.001, or a number by 1e-5. Compare within one run
only.
"""
import contextlib
import csv
import itertools
import json
import pathlib
import sys
import tempfile

import numpy as np
from scipy.stats import spearmanr

from benchmarks import harness

SEGMENTS = ('dev', 'test')
OUR_FLOAT32, PEER_FLOAT32 = 'ours float32', 'theirs float32'
OUR_DTYPES = {OUR_FLOAT32: 'float32', 'ours bfloat16': 'bfloat16', 'ours int8': 'int8'}
REFERENCE = 'ours bfloat16'     # the contender whose speed is compared with all others
PEER_WAYS = {PEER_FLOAT32: 'float32', 'theirs bfloat16': 'bfloat16', 'theirs ONNX': 'onnx',
             'theirs OpenVINO': 'openvino'}
CORRELATION_TOLERANCE, TOLERANCE = 1e-3, 1e-5
LINES_PER_PARAGRAPH = 5


def make_parser():
    parser = harness.make_parser(__doc__, 'embedding.json')
    parser.add_argument('--paragraphs', metavar='FILE',
                        help='one sentence a line; %d lines make a paragraph'
                             % LINES_PER_PARAGRAPH)
    parser.add_argument('--number', type=int, default=1000, help='of paragraphs')
    parser.add_argument('--batch_sizes', type=harness.int_list, default=[32, 256], metavar='A,B,…')
    parser.add_argument('--rounds', type=int, default=6, help='the first of them is warm-up')
    return parser


def read_pairs(folder):
    """{segment: (first sentences, second sentences, scores)} of the STS benchmark."""
    from bert import downloads
    from bert.data.glue.download import STS_BENCHMARK, STS_FILES
    pairs = {}
    for segment in SEGMENTS:
        path, = downloads.fetch_pypi_files(*STS_BENCHMARK, [STS_FILES % segment], folder)
        with open(path, encoding='utf-8', newline='') as lines:
            rows = list(csv.reader(lines, delimiter='\t', quoting=csv.QUOTE_NONE))
        pairs[segment] = ([row[5] for row in rows], [row[6] for row in rows],
                          [float(row[4]) for row in rows])
    return pairs


def read_paragraphs(args):
    lines = [line for line in pathlib.Path(args.paragraphs).read_text(encoding='utf-8').splitlines()
             if line]
    paragraphs = [' '.join(lines[i:i + LINES_PER_PARAGRAPH])
                  for i in range(0, len(lines), LINES_PER_PARAGRAPH)]
    step = max(1, len(paragraphs) // args.number)   # spread over the whole text
    return paragraphs[::step][:args.number]


def write_texts(folder, pairs, args):
    """{name: (file of texts, number of texts)}"""
    texts = {segment: first + second for segment, (first, second, _) in pairs.items()}
    if args.paragraphs:
        texts['paragraphs'] = read_paragraphs(args)
    for name, values in texts.items():
        (folder / (name + '.json')).write_text(json.dumps(values), encoding='utf-8')
    return {name: (folder / (name + '.json'), len(values)) for name, values in texts.items()}


def start_workers(folder, weights, args):
    """{contender: `Worker`}, for the caller to enter. Each of theirs gets a folder of its own,
    into which it writes its exported network."""
    workers = {name: harness.Worker('ours', 'benchmarks.embedding.ours', weights, '--dtype', dtype,
                                    threads=args.threads) for name, dtype in OUR_DTYPES.items()}
    for name, way in PEER_WAYS.items():
        copy = folder / way
        copy.mkdir()
        for path in pathlib.Path(weights).iterdir():
            (copy / path.name).symlink_to(path)
        workers[name] = harness.Worker('peer-embedding', 'benchmarks.embedding.peer', copy, way,
                                       threads=args.threads)
    return workers


def measure(args, folder, workers, texts):
    """{name of texts: {(contender, batch size): [texts a second of each round]}}"""
    rates = {name: {key: [] for key in itertools.product(workers, args.batch_sizes)}
             for name in texts}
    for round_number in range(args.rounds):
        for name, (path, num_texts) in texts.items():
            for (contender, size), values in rates[name].items():
                seconds = workers[contender].ask(
                    texts=str(path), batch_size=size,
                    output=str(folder / vectors_file(contender, name)))['seconds']
                if round_number:
                    values.append(num_texts / seconds)
            print('round %d, %s: %s' % (round_number, name, ', '.join(
                '%s %d: %.0f' % (key + (values[-1],)) for key, values in rates[name].items()
                if values) or 'warm-up'), file=sys.stderr, flush=True)
    return rates


def vectors_file(contender, name):
    return '%s %s.npy' % (contender, name)


def correlation(folder, contender, segment, scores):
    """Spearman's correlation of the cosines of pairs with their scores."""
    vectors = np.load(folder / vectors_file(contender, segment)).astype('float64')
    first, second = np.split(vectors, 2)
    cosines = (first * second).sum(axis=1) / (np.linalg.norm(first, axis=1)
                                              * np.linalg.norm(second, axis=1))
    return spearmanr(cosines, scores)[0]


def largest_difference(folder, name):
    """Between the numbers of our vectors and of theirs, both in float32."""
    ours, theirs = (np.load(folder / vectors_file(contender, name))
                    for contender in (OUR_FLOAT32, PEER_FLOAT32))
    return float(np.abs(ours - theirs).max())


def summarize(rates):
    """The rates of one kind of texts, and `REFERENCE` over each contender: 'by_size' at the same
    batch size, 'at_best' each at the batch size at which it is fastest."""
    best_sizes = {}
    for contender, size in rates:
        best_size = best_sizes.setdefault(contender, size)
        if np.median(rates[contender, size]) > np.median(rates[contender, best_size]):
            best_sizes[contender] = size
    reference = rates[REFERENCE, best_sizes[REFERENCE]]
    return {
        'by_size': [{'contender': contender, 'batch_size': size,
                     'texts_per_second': harness.median_and_range(values),
                     'ours_over_it': harness.ratio_range(rates[REFERENCE, size], values)}
                    for (contender, size), values in rates.items()],
        'at_best': [{'contender': contender, 'batch_size': size,
                     'ours_over_it': harness.ratio_range(reference, rates[contender, size])}
                    for contender, size in best_sizes.items()]}


def print_results(result):
    print('\n%-12s %-16s %5s %24s %22s' % ('texts', '', 'batch', 'texts a second',
                                           REFERENCE + ' over it'))
    for name, speed in result['speed'].items():
        for entry in speed['by_size']:
            rate = entry['texts_per_second']
            print('%-12s %-16s %5d %8.0f (%5.0f–%5.0f) %22s' % (
                name, entry['contender'], entry['batch_size'], rate['median'], rate['min'],
                rate['max'], harness.format_range(entry['ours_over_it'])))
        print('%-12s each at its best: %s' % (name, ', '.join(
            '%s (%d) %s' % (entry['contender'], entry['batch_size'],
                            harness.format_range(entry['ours_over_it']))
            for entry in speed['at_best'])))
    print(harness.RANGE_NOTE + '\n')
    for segment, correlations in result['correlations'].items():
        print('STS benchmark, %s: Spearman %s' % (segment, ', '.join(
            '%s %.4f' % item for item in correlations.items())))
    for name, difference in result['differences'].items():
        print('%s: largest difference of a number, both in float32: %.1e' % (name, difference))


def main():
    args = make_parser().parse_args()
    harness.use_threads(args.threads)
    from benchmarks.classifier.ours import weights_folder  # imports mxnet, which reads the threads
    with tempfile.TemporaryDirectory() as parent, contextlib.ExitStack() as stack:
        folder = pathlib.Path(parent)
        pairs = read_pairs(folder)
        texts = write_texts(folder, pairs, args)
        workers = {name: stack.enter_context(worker) for name, worker
                   in start_workers(folder, weights_folder(), args).items()}
        rates = measure(args, folder, workers, texts)
        result = harness.make_result(
            args, peer='peer-embedding',
            speed={name: summarize(values) for name, values in rates.items()},
            correlations={segment: {name: correlation(folder, name, segment, pairs[segment][2])
                                    for name in workers} for segment in SEGMENTS},
            differences={name: largest_difference(folder, name) for name in texts})
    harness.write_result(args.output, result)
    print_results(result)
    harness.warn_if_busy(result)
    is_same = all(abs(values[OUR_FLOAT32] - values[PEER_FLOAT32]) < CORRELATION_TOLERANCE
                  for values in result['correlations'].values())
    return int(not is_same or max(result['differences'].values()) > TOLERANCE)


if __name__ == '__main__':
    sys.exit(main())
