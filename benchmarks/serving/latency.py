"""How long a request for a vector takes: our server beside others, on the same cores, in one run.

all-MiniLM-L6-v2 behind the servers of throughput.py. First one client sends texts of one length,
one after the other. Then requests come at random times at half of the rate that ours reaches under
full load, whether or not the last ones are answered, and the time of a request counts from when it
should have been sent: a server that falls behind is not spared. Percentiles are of each round.
Compare within one run only, on a machine without other work.
"""
import contextlib
import pathlib
import tempfile

from benchmarks import harness
from benchmarks.serving import servers, texts

MILLISECONDS = 1000


def make_parser():
    parser = harness.make_parser(__doc__, 'serving-latency.json')
    servers.add_flags(parser)
    parser.add_argument('--lengths', type=harness.int_list, default=[16, 128], metavar='A,B,…',
                        help='tokens of the texts of one client')
    parser.add_argument('--requests', type=int, default=300, help='of one client in a round')
    parser.add_argument('--tokens', type=harness.int_list, default=[16, 256], metavar='A,B',
                        help='the shortest and the longest text of the open loop')
    parser.add_argument('--duration', type=float, default=20, help='seconds of an open loop')
    parser.add_argument('--full_load', type=int, default=2000, metavar='REQUESTS',
                        help='to find the rate of 64 clients')
    parser.add_argument('--rounds', type=int, default=3)
    return parser


class Comparison:
    """The measurements. contenders: {name: `servers.Server`}; folder: for bodies."""

    def __init__(self, args, folder, contenders, client):
        self._args, self._folder, self._client = args, folder, client
        self._contenders = contenders
        self._source = texts.TextSource(args.data_dir, args.seed)

    def _write_bodies(self, name, number, shortest, longest):
        return texts.write_bodies(self._folder / (name + '.json'),
                                  self._source.texts(number, shortest, longest))

    def measure_one_client(self):
        """{length: {contender: [measurements of the rounds]}}; the first round warms up."""
        args = self._args
        results = {length: {name: [] for name in self._contenders} for length in args.lengths}
        for round_number in range(args.rounds + 1):
            for length, values in results.items():
                bodies = self._write_bodies('one-%d-%d' % (length, round_number), args.requests,
                                            length, length)
                answers = {name: self._client.ask(server, bodies, clients=1, count=args.requests)
                           for name, server in self._contenders.items()}
                if round_number:
                    for name, answer in answers.items():
                        values[name].append(answer)
                    print_percentiles('round %d, one client, %d tokens' % (round_number, length),
                                      answers)
        return results

    def find_rates(self):
        """{our contender: half of its requests a second with 64 clients}"""
        bodies = self._write_bodies('full', self._args.full_load, *self._args.tokens)
        rates = {}
        for name, server in self._contenders.items():
            if servers.CONTENDERS[name][0] == 'ours':
                answer = self._client.ask(server, bodies, clients=64, count=self._args.full_load)
                rates[name] = answer['requests'] / answer['seconds'] / 2
        harness.print_round('half of the full load', rates, '%.1f/s')
        return rates

    def measure_open_loop(self, rates):
        """{our contender: {itself and each peer: [measurements of the rounds at its rate]}}"""
        args = self._args
        results = {ours: {name: [] for name in self._contenders
                          if name == ours or servers.CONTENDERS[name][0] != 'ours'}
                   for ours in rates}
        for round_number in range(args.rounds):
            for ours, values in results.items():
                bodies = self._write_bodies('open-%s-%d' % (ours, round_number),
                                            int(args.duration * rates[ours]), *args.tokens)
                answers = {name: self._client.ask(
                    self._contenders[name], bodies, rate=rates[ours], duration=args.duration,
                    seed=args.seed + round_number) for name in values}
                for name, answer in answers.items():
                    values[name].append(answer)
                print_percentiles('round %d, open loop, %.0f/s' % (round_number + 1, rates[ours]),
                                  answers)
        return results


def print_percentiles(title, answers):
    print('%s: %s' % (title, ', '.join('%s %.1f and %.1f ms' % (
        name, MILLISECONDS * answer['p50'], MILLISECONDS * answer['p99'])
        for name, answer in answers.items())), flush=True)


def summarize(rounds):
    """{contender: percentiles in milliseconds} of {contender: measurements}"""
    summary = {}
    for name, values in rounds.items():
        entry = summary[name] = {percentile: harness.median_and_range(
            [MILLISECONDS * value[percentile] for value in values])
            for percentile in ('p50', 'p90', 'p99')}
        entry['p99_over_p50'] = harness.ratio_range(*(
            [value[percentile] for value in values] for percentile in ('p99', 'p50')))
        entry['rounds'] = values
    return summary


def print_table(title, summary):
    print('\n%-32s %22s %26s %22s' % (title, 'p50, ms', 'p99, ms', 'p99 over p50'))
    for name, values in summary.items():
        print('%-32s %22s %26s %22s' % (
            name, harness.format_range(values['p50'], 1), harness.format_range(values['p99'], 1),
            harness.format_range(values['p99_over_p50'], 1)))


def main():
    args = make_parser().parse_args()
    harness.use_threads(args.threads)
    names = servers.pick_contenders(args)
    with tempfile.TemporaryDirectory() as parent, contextlib.ExitStack() as stack:
        contenders = servers.start_servers(args, names, stack)
        comparison = Comparison(args, pathlib.Path(parent), contenders, servers.Client(stack))
        one_client = comparison.measure_one_client()
        rates = comparison.find_rates()
        open_loop = comparison.measure_open_loop(rates)
    one_client = {length: summarize(rounds) for length, rounds in one_client.items()}
    open_loop = {ours: summarize(rounds) for ours, rounds in open_loop.items()}
    result = harness.make_result(args, peer=servers.SMALL, one_client=one_client, rates=rates,
                                 open_loop=open_loop)
    result['peer'] = servers.wanted_pins()
    harness.write_result(args.output, result)
    for length, summary in one_client.items():
        print_table('one client, %d tokens' % length, summary)
    for ours, summary in open_loop.items():
        print_table('open loop, %.0f requests/s' % rates[ours], summary)
    print(harness.RANGE_NOTE)
    harness.warn_if_busy(result)


if __name__ == '__main__':
    main()
