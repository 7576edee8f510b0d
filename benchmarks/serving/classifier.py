"""What our server costs a large model: a classifier of BERT-base's sizes, with and without it.

64 clients send texts of 16 to 256 tokens, one each, to /predict; our pipeline computes the same
texts without a server, in the same rounds. The weights are random, since time does not depend on
them. The load generator runs on the cores of the server. Compare within one run only, on a machine
without other work.
"""
import contextlib
import pathlib
import tempfile

from benchmarks import harness
from benchmarks.serving import servers, texts

DTYPES = ('float32', 'bfloat16', 'int8')


def make_parser():
    parser = harness.make_parser(__doc__, 'serving-classifier.json')
    parser.add_argument('--dtypes', type=harness.comma_list, default=list(DTYPES), metavar='A,B,…',
                        help='those that this CPU has no instructions for are left out')
    parser.add_argument('--clients', type=int, default=64)
    parser.add_argument('--texts', type=int, default=512, help='of a round')
    parser.add_argument('--tokens', type=harness.int_list, default=[16, 256], metavar='A,B',
                        help='the shortest and the longest text')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--models', metavar='FOLDER', default='serving-models',
                        help='for the model; kept for the next run')
    parser.add_argument('--first_port', type=int, default=8101)
    parser.add_argument('--seed', type=int, default=1, help='of the texts')
    return parser


def measure(args, folder, contenders, pipelines, client):
    """{dtype: ([texts a second of the server], [of the pipeline])}"""
    source = texts.TextSource(args.data_dir, args.seed)
    rates = {dtype: ([], []) for dtype in contenders}
    for round_number in range(args.rounds + 1):
        sample = source.texts(args.texts if round_number else args.clients, *args.tokens)
        plain = folder / 'texts.json'
        harness.write_json(plain, sample)
        bodies = texts.write_bodies(folder / ('%d.json' % round_number), sample, key='inputs')
        for dtype, server in contenders.items():
            seconds = (client.ask(server, bodies, clients=args.clients,
                                  count=len(sample))['seconds'],
                       pipelines[dtype].ask(texts=str(plain))['seconds'])
            if round_number:        # the first one warms up
                for values, value in zip(rates[dtype], seconds):
                    values.append(len(sample) / value)
                harness.print_round('round %d, %s' % (round_number, dtype), {
                    'server': rates[dtype][0][-1], 'alone': rates[dtype][1][-1]}, '%.2f/s')
    return rates


def start(args, stack):
    """({dtype: `Server`}, {dtype: `Worker`})"""
    dtypes = [dtype for dtype in args.dtypes if not servers.missing_flags('ours ' + dtype)]
    folder = servers.model_folder(args, 'classifier')
    contenders = {dtype: stack.enter_context(servers.Server(
        'classifier ' + dtype, servers.our_command(folder, dtype, args.threads,
                                                   args.first_port + i),
        args.first_port + i, args.threads, '/predict', folder)) for i, dtype in enumerate(dtypes)}
    pipelines = {dtype: stack.enter_context(harness.Worker(
        'ours', 'benchmarks.serving.ours', folder, '--dtype', dtype, '--threads', args.threads,
        threads=args.threads)) for dtype in dtypes}
    return contenders, pipelines


def main():
    args = make_parser().parse_args()
    harness.use_threads(args.threads)
    with tempfile.TemporaryDirectory() as parent, contextlib.ExitStack() as stack:
        contenders, pipelines = start(args, stack)
        rates = measure(args, pathlib.Path(parent), contenders, pipelines, servers.Client(stack))
    summary = {dtype: {'server': harness.median_and_range(served),
                       'alone': harness.median_and_range(alone),
                       'server_over_alone': harness.ratio_range(served, alone)}
               for dtype, (served, alone) in rates.items()}
    result = harness.make_result(args, peer=servers.SMALL, classifier=summary)
    harness.write_result(args.output, result)
    print('\n%-10s %24s %24s %24s' % ('', 'server, texts a second', 'pipeline alone',
                                      'server over it'))
    for dtype, values in summary.items():
        print('%-10s %24s %24s %24s' % (dtype, harness.format_range(values['server']),
                                        harness.format_range(values['alone']),
                                        harness.format_range(values['server_over_alone'])))
    print(harness.RANGE_NOTE)
    harness.warn_if_busy(result)


if __name__ == '__main__':
    main()
