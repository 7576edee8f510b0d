"""Memory of our server over many requests: it must not grow.

A model of random weights, so small that the server itself is the work, answers requests of mixed
lengths, some of them with several texts, from clients that come and go. Resident
memory after the last request must be at most --limit times that after the first --warm_up. Exit
status 1 when it isn't.
"""
import contextlib
import pathlib
import sys
import tempfile

from benchmarks import harness
from benchmarks.serving import servers, texts

MEBIBYTE = 1 << 20
BODIES = 2000       # different ones
CLIENTS = 16


def make_parser():
    parser = harness.make_parser(__doc__, 'serving-memory.json')
    parser.add_argument('--requests', type=int, default=200000)
    parser.add_argument('--warm_up', type=int, default=10000, metavar='REQUESTS')
    parser.add_argument('--limit', type=float, default=1.05, metavar='RATIO')
    parser.add_argument('--dtype', default='float32')
    parser.add_argument('--models', metavar='FOLDER', default='serving-models',
                        help='for the model; kept for the next run')
    parser.add_argument('--port', type=int, default=8101)
    parser.add_argument('--seed', type=int, default=1, help='of the texts')
    return parser


def write_bodies(args, folder):
    """The bodies of requests: 1 to 8 texts each."""
    source = texts.TextSource(args.data_dir, args.seed)
    bodies = []
    for size in (1, 1, 1, 8):
        path = texts.write_bodies(folder / 'some.json',
                                  source.texts(BODIES // 4 * size, 4, 64), size)
        bodies += harness.read_json(path)
    harness.write_json(folder / 'bodies.json', bodies)
    return folder / 'bodies.json'


def measure(args, server, client, bodies):
    """[(requests so far, resident bytes)], one for each `warm_up` requests."""
    readings = []
    for done in range(args.warm_up, args.requests + 1, args.warm_up):
        answer = client.ask(server, bodies, clients=CLIENTS, count=args.warm_up)
        readings.append((done, server.memory()))
        print('%d requests, %.0f a second: %.1f MB' % (
            done, answer['requests'] / answer['seconds'], readings[-1][1] / MEBIBYTE), flush=True)
    return readings


def main():
    args = make_parser().parse_args()
    harness.use_threads(args.threads)
    with tempfile.TemporaryDirectory() as parent, contextlib.ExitStack() as stack:
        bodies = write_bodies(args, pathlib.Path(parent))
        folder = servers.model_folder(args, 'tiny')
        server = stack.enter_context(servers.Server(
            'ours', servers.our_command(folder, args.dtype, args.threads, args.port), args.port,
            args.threads, servers.PATHS['ours'], folder))
        readings = measure(args, server, servers.Client(stack), bodies)
    growth = readings[-1][1] / readings[0][1]
    harness.write_result(args.output, harness.make_result(
        args, peer=servers.SMALL, readings=readings, growth=growth))
    print('resident memory after %d requests is %.3f times that after %d' % (
        readings[-1][0], growth, readings[0][0]))
    return int(growth > args.limit)


if __name__ == '__main__':
    sys.exit(main())
