"""Vectors a second under load: our server beside others, on the same cores, in one run.

all-MiniLM-L6-v2 behind ours, infinity (with PyTorch and with ONNX Runtime) and a small server of
FastAPI and sentence-transformers (PyTorch, OpenVINO). 64 clients send the same list of requests to
each, one after the other: each its next one when it has the answer to the last; first with one text
of 16 to 256 tokens each, then with 32. The load generator runs on the cores of the server, and its
processor time is in the result. Our pipeline without a server, on the same texts, shows what the
server costs. Before that, the vectors of all must be the same. Compare within one run only, on a
machine without other work.
"""
import contextlib
import pathlib
import statistics
import tempfile

from benchmarks import harness
from benchmarks.serving import servers, texts


def make_parser():
    parser = harness.make_parser(__doc__, 'serving-throughput.json')
    servers.add_flags(parser)
    parser.add_argument('--clients', type=int, default=64)
    parser.add_argument('--texts_per_request', type=harness.int_list, default=[1, 32],
                        metavar='A,B,…')
    parser.add_argument('--texts', type=int, default=4096,
                        help='of a round; more than clients × texts of a request')
    parser.add_argument('--tokens', type=harness.int_list, default=[16, 256], metavar='A,B',
                        help='the shortest and the longest text')
    parser.add_argument('--rounds', type=int, default=3)
    return parser


def measure(args, folder, contenders, pipelines, client):
    """{texts of a request: {contender: [measurements of the rounds]}}. contenders: {name:
    `Server`}; pipelines: {name: `harness.Worker`}, our pipeline alone."""
    source = texts.TextSource(args.data_dir, args.seed)
    warm_up = texts.write_bodies(folder / 'warm-up.json',
                                 source.texts(4 * args.clients, *args.tokens))
    for server in contenders.values():
        client.ask(server, warm_up, clients=args.clients, count=4 * args.clients)
    results = {size: {name: [] for name in [*contenders, *pipelines]}
               for size in args.texts_per_request}
    for round_number in range(args.rounds):
        for size, values in results.items():
            sample = source.texts(args.texts, *args.tokens)
            plain = folder / 'texts.json'
            harness.write_json(plain, sample)
            # a new name a round: the load generator keeps what it has read
            bodies = texts.write_bodies(folder / ('%d-%d.json' % (round_number, size)), sample,
                                        size)
            for name, server in contenders.items():
                values[name].append(with_rate(args, client.ask(
                    server, bodies, clients=args.clients, count=-(-args.texts // size))))
            for name, worker in pipelines.items():
                values[name].append(with_rate(args, worker.ask(texts=str(plain))))
            harness.print_round('round %d, %d texts a request' % (round_number + 1, size), {
                name: rounds[-1]['texts_per_second'] for name, rounds in values.items()}, '%.0f/s')
    return results


def with_rate(args, measurement):
    if 'server_seconds' in measurement:
        measurement['server_milliseconds_per_text'] = 1000 * measurement['server_seconds'] \
            / args.texts
    return dict(measurement, texts_per_second=args.texts / measurement['seconds'])


def summarize(rounds, reference):
    """The summary of one kind of request. rounds: {contender: measurements}; reference: the
    contender whose rate is set over the others'."""
    rates = {name: [value['texts_per_second'] for value in values]
             for name, values in rounds.items()}
    return {name: {'texts_per_second': harness.median_and_range(values),
                   'first_over_it': harness.ratio_range(rates[reference], values),
                   'rounds': rounds[name]} for name, values in rates.items()}


def alone(name):
    """The name of our pipeline without a server."""
    return name + ' alone'


def start_pipelines(args, names, stack):
    """{name: `Worker`} of our pipelines alone, for those contenders that are ours."""
    folder = servers.model_folder(args, 'embedder')
    return {alone(name): stack.enter_context(harness.Worker(
        'ours', 'benchmarks.serving.ours', folder, '--dtype', servers.CONTENDERS[name][1],
        '--threads', args.threads, threads=args.threads))
        for name in names if servers.CONTENDERS[name][0] == 'ours'}


def print_table(summary, first):
    """A row for each contender: with the processor time of the server for a text, which other work
    on the machine changes least, and the share of a core that the load generator took."""
    for size, contenders in summary.items():
        print('\n%-28s %26s %24s %12s %10s' % (
            '%s texts a request' % size, 'texts a second', first + ' over it', 'CPU ms/text',
            'generator'))
        for name, values in contenders.items():
            print('%-28s %26s %24s %12s %10s' % (
                name, harness.format_range(values['texts_per_second'], 1),
                harness.format_range(values['first_over_it']), *format_times(values['rounds'])))
    print(harness.RANGE_NOTE + '; CPU: of the server, all cores; generator: its share of one core')


def format_times(rounds):
    """(processor time of the server, share of the load generator) as text; empty without a server.
    """
    if 'server_seconds' not in rounds[0]:
        return '', ''
    times = [value['server_milliseconds_per_text'] for value in rounds]
    shares = [value['generator_seconds'] / value['seconds'] for value in rounds]
    return '%.2f' % statistics.median(times), '%.1f %%' % (100 * max(shares))


def main():
    args = make_parser().parse_args()
    harness.use_threads(args.threads)
    names = servers.pick_contenders(args)
    with tempfile.TemporaryDirectory() as parent, contextlib.ExitStack() as stack:
        contenders = servers.start_servers(args, names, stack)
        pipelines = start_pipelines(args, names, stack)
        source = texts.TextSource(args.data_dir, args.seed)
        cosines = servers.check_vectors(contenders, source.texts(64, *args.tokens))
        results = measure(args, pathlib.Path(parent), contenders, pipelines,
                          servers.Client(stack))
    summary = {size: summarize(rounds, names[0]) for size, rounds in results.items()}
    result = harness.make_result(args, peer=servers.SMALL, throughput=summary, cosines=cosines)
    result['peer'] = servers.wanted_pins()
    harness.write_result(args.output, result)
    print_table(summary, names[0])
    harness.warn_if_busy(result)


if __name__ == '__main__':
    main()
