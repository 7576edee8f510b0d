"""Vectors of sentences, ours and sentence-transformers', side by side in one run.

all-MiniLM-L6-v2, mean pooling, length 1, on the sentences of the STS benchmark and on paragraphs of
a text, if one is given. Each round, all contenders embed the same texts one after the other: ours
in float32, bfloat16 and int8, theirs in float32 and bfloat16, by ONNX Runtime and by OpenVINO, each
in batches of 32 texts (their default) and of 256 (ours). Then what the vectors are worth: the
correlation of cosines with what people said, and how far ours are from theirs. Exit status 1 when a
correlation in float32 differs by 0.001, a number by 1e-5. Compare within one run only.
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
OURS, THEIRS = 'ours float32', 'theirs float32'
OUR_WAYS = {OURS: 'float32', 'ours bfloat16': 'bfloat16', 'ours int8': 'int8'}
BASE = 'ours bfloat16'      # whose speed is compared with all others
WAYS = {THEIRS: 'float32', 'theirs bfloat16': 'bfloat16', 'theirs ONNX': 'onnx',
        'theirs OpenVINO': 'openvino'}
SAME_CORRELATION, SAME = 1e-3, 1e-5
LINES_A_PARAGRAPH = 5


def make_parser():
    parser = harness.make_parser(__doc__, 'embedding.json')
    parser.add_argument('--paragraphs', metavar='FILE',
                        help='one sentence a line, of which %d make a paragraph'
                             % LINES_A_PARAGRAPH)
    parser.add_argument('--number', type=int, default=1000, help='of paragraphs')
    parser.add_argument('--batch_sizes', type=harness.seed_list, default=[32, 256], metavar='A,B,…')
    parser.add_argument('--rounds', type=int, default=6, help='the first of them is warm-up')
    return parser


def read_pairs(folder):
    """{segment: (first sentences, second ones, scores)}"""
    from bert import downloads
    from bert.data.glue.download import STS_BENCHMARK, STS_FILES
    found = {}
    for segment in SEGMENTS:
        path, = downloads.pypi_files(*STS_BENCHMARK, [STS_FILES % segment], folder)
        with open(path, encoding='utf-8', newline='') as lines:
            rows = list(csv.reader(lines, delimiter='\t', quoting=csv.QUOTE_NONE))
        found[segment] = ([row[5] for row in rows], [row[6] for row in rows],
                          [float(row[4]) for row in rows])
    return found


def read_paragraphs(args):
    lines = [line for line in pathlib.Path(args.paragraphs).read_text(encoding='utf-8').splitlines()
             if line]
    paragraphs = [' '.join(lines[i:i + LINES_A_PARAGRAPH])
                  for i in range(0, len(lines), LINES_A_PARAGRAPH)]
    step = max(1, len(paragraphs) // args.number)   # from all over the text
    return paragraphs[::step][:args.number]


def write_texts(folder, pairs, args):
    """{name: file of texts}"""
    texts = {segment: first + second for segment, (first, second, _) in pairs.items()}
    if args.paragraphs:
        texts['paragraphs'] = read_paragraphs(args)
    for name, values in texts.items():
        (folder / (name + '.json')).write_text(json.dumps(values), encoding='utf-8')
    return {name: (folder / (name + '.json'), len(values)) for name, values in texts.items()}


def start(folder, weights, args):
    """{contender: `Worker` to be entered}. Theirs get folders of their own, into which they
    write exported networks."""
    workers = {name: harness.Worker('ours', 'benchmarks.embedding.ours', weights, '--dtype', dtype,
                                    threads=args.threads) for name, dtype in OUR_WAYS.items()}
    for name, way in WAYS.items():
        own = folder / way
        own.mkdir()
        for path in pathlib.Path(weights).iterdir():
            (own / path.name).symlink_to(path)
        workers[name] = harness.Worker('peer-embedding', 'benchmarks.embedding.peer', own, way,
                                       threads=args.threads)
    return workers


def measure(args, folder, workers, texts):
    """{name of texts: {(contender, batch size): [texts a second of each round]}}"""
    rates = {name: {key: [] for key in itertools.product(workers, args.batch_sizes)}
             for name in texts}
    for round_number in range(args.rounds):
        for name, (path, number) in texts.items():
            for (contender, size), found in rates[name].items():
                seconds = workers[contender].ask(
                    texts=str(path), batch_size=size,
                    output=str(folder / vectors_name(contender, name)))['seconds']
                if round_number:
                    found.append(number / seconds)
            print('round %d, %s: %s' % (round_number, name, ', '.join(
                '%s %d: %.0f' % (key + (found[-1],)) for key, found in rates[name].items()
                if found) or 'warm-up'), file=sys.stderr, flush=True)
    return rates


def vectors_name(contender, name):
    return '%s %s.npy' % (contender, name)


def correlation(folder, contender, segment, scores):
    """Spearman's, of cosines with scores."""
    vectors = np.load(folder / vectors_name(contender, segment)).astype('float64')
    first, second = np.split(vectors, 2)
    cosines = (first * second).sum(axis=1) / (np.linalg.norm(first, axis=1)
                                              * np.linalg.norm(second, axis=1))
    return spearmanr(cosines, scores)[0]


def difference(folder, name):
    """The largest one between numbers of ours and of theirs in float32."""
    ours, theirs = (np.load(folder / vectors_name(contender, name)) for contender in (OURS, THEIRS))
    return float(np.abs(ours - theirs).max())


def summarize(rates):
    """Of one kind of texts: the rates by contender and batch size; `BASE` over each of the same
    size; and each at the size that suits it best, `BASE` over them."""
    best = {}
    for contender, size in rates:
        at_best = best.setdefault(contender, size)
        if np.median(rates[contender, size]) > np.median(rates[contender, at_best]):
            best[contender] = size
    mine = rates[BASE, best[BASE]]
    return {
        'by_size': [{'contender': contender, 'batch_size': size,
                     'texts_per_second': harness.median_and_range(found),
                     'ours_over_it': harness.median_and_range(ratios(rates[BASE, size], found))}
                    for (contender, size), found in rates.items()],
        'at_best': [{'contender': contender, 'batch_size': size,
                     'ours_over_it': harness.median_and_range(
                         ratios(mine, rates[contender, size]))}
                    for contender, size in best.items()]}


def ratios(numerators, denominators):
    """Round by round."""
    return [a / b for a, b in zip(numerators, denominators)]


def show(result):
    print('\n%-12s %-16s %5s %24s %22s' % ('texts', '', 'batch', 'texts a second',
                                           BASE + ' over it'))
    for name, found in result['speed'].items():
        for one in found['by_size']:
            rate = one['texts_per_second']
            print('%-12s %-16s %5d %8.0f (%5.0f–%5.0f) %22s' % (
                name, one['contender'], one['batch_size'], rate['median'], rate['min'],
                rate['max'], harness.cell(one['ours_over_it'])))
        print('%-12s each at its best: %s' % (name, ', '.join(
            '%s (%d) %s' % (one['contender'], one['batch_size'], harness.cell(one['ours_over_it']))
            for one in found['at_best'])))
    print('median (lowest–highest) over the rounds; ratios are taken round by round\n')
    for segment, found in result['correlations'].items():
        print('STS benchmark, %s: Spearman %s' % (segment, ', '.join(
            '%s %.4f' % item for item in found.items())))
    for name, found in result['differences'].items():
        print('%s: largest difference of a number, both in float32: %.1e' % (name, found))


def main():
    args = make_parser().parse_args()
    harness.use_threads(args.threads)
    from benchmarks.classifier.ours import weights_folder  # imports mxnet, which reads the threads
    with tempfile.TemporaryDirectory() as parent, contextlib.ExitStack() as stack:
        folder = pathlib.Path(parent)
        pairs = read_pairs(folder)
        texts = write_texts(folder, pairs, args)
        workers = {name: stack.enter_context(worker) for name, worker
                   in start(folder, weights_folder(), args).items()}
        rates = measure(args, folder, workers, texts)
        result = harness.report(
            args, speed={name: summarize(found) for name, found in rates.items()},
            correlations={segment: {name: correlation(folder, name, segment, pairs[segment][2])
                                    for name in workers} for segment in SEGMENTS},
            differences={name: difference(folder, name) for name in texts})
    result['peer'] = list(harness.PINS['peer-embedding'])
    harness.write_json(args.output, result)
    harness.describe(result)
    show(result)
    harness.warn_if_busy(result)
    same = all(abs(found[OURS] - found[THEIRS]) < SAME_CORRELATION
               for found in result['correlations'].values())
    return int(not same or max(result['differences'].values()) > SAME)


if __name__ == '__main__':
    sys.exit(main())
