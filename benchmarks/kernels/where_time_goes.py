"""Where the fused kernels spend their time: products, attention, and what lies between them.

One process works without a pause: it trains on MRPC, from the examples of its file to updated
weights, or computes training steps or forward passes of a classifier on one batch of random tokens.
Linux's perf (package linux-perf) samples the function that each thread is in, many times a second;
it needs no special build. It doesn't see threads that wait. "products" includes the products of
attention; "attention" is what lies between them, above all softmax. "packing" brings the operands
of products into the order in which they are read, and recomputes some of them.
"""
import collections
import os
import re
import shutil
import subprocess
import sys
import tempfile

from benchmarks import harness
from benchmarks.inference.exported_models import shape

# {part: pattern}; the first pattern that matches its name decides where a function belongs
FUNCTIONS = (('optimizer', r'Adam|ParameterUpdate|Piece'),
             ('attention', r'Attention'),
             ('products', r'micro_kernel'),
             ('packing', r'\bpack_(a|b|b_transposed)<|::compute_weight_gradient|'
                         r'prepare_operand|Pool::acquire|scale_of'))
ELEMENT_WISE = 'element-wise'   # the rest of the kernels: activation, normalisation, dropout, sums
# The same by the name of the library, for functions outside the kernels
LIBRARIES = (('MXNet', r'libmxnet'), ('Python', r'python|_multiarray|\.cpython|ctypes|ffi'),
             ('waiting awake', r'libgomp'))
SYSTEM = 'system and others'
PARTS = ('products', 'packing', 'attention', ELEMENT_WISE, 'optimizer', 'MXNet', 'Python',
         'waiting awake', SYSTEM, 'waiting')
FREQUENCY = 499     # samples a second of each thread that computes
LINE = re.compile(r'^\s*(?P<function>.*?) \((?P<library>[^()]*)\)$')


def make_parser():
    parser = harness.make_parser(__doc__, 'where_time_goes.json')
    parser.add_argument('--work', choices=('mrpc', 'step', 'forward'), default='mrpc')
    parser.add_argument('--dtype', choices=('float32', 'bfloat16', 'int8'), default='bfloat16')
    parser.add_argument('--model', choices=('minilm', 'base'), default='base',
                        help='sizes of the network of step and forward; mrpc has MiniLM\'s')
    parser.add_argument('--shape', type=shape, default='32x128', metavar='AxB',
                        help='of their batch: examples x tokens, or for forward x mean of longest')
    parser.add_argument('--seconds', type=int, default=20)
    return parser


def start_worker(args, folder):
    """(worker, question that keeps it busy for some seconds)"""
    if args.work == 'mrpc':
        from benchmarks.classifier import speed as classifier_speed
        args.batch_size, args.max_len = 32, 128     # of that comparison
        path = os.path.join(folder, 'train.npz')
        num_examples, num_outputs, weights = classifier_speed.write_examples(args, 'MRPC', path)
        worker = classifier_speed.start_worker('ours ' + args.dtype, args, 'MRPC', path,
                                               num_outputs, weights)
        return worker, {'indices': classifier_speed.draw_indices(num_examples, 960, 1, 0)}
    if args.work == 'step':
        return harness.Worker('ours', 'benchmarks.kernels.ours_step', '--model', args.model,
                              '--dtype', args.dtype, '--batch_size', args.shape['size'],
                              '--length', args.shape['length'], threads=args.threads), {'steps': 1}
    way = 'fused' if args.dtype == 'float32' else 'fused-' + args.dtype
    return harness.Worker('ours', 'benchmarks.inference.ours', '--model', args.model, '--way', way,
                          threads=args.threads), args.shape


def record(worker, question, seconds, path):
    """Have perf sample a worker, which is kept busy."""
    worker.ask(**question)
    with subprocess.Popen(['perf', 'record', '-q', '-F', str(FREQUENCY), '-o', path, '-p',
                           str(worker.pid), '--', 'sleep', str(seconds)]) as perf:
        while perf.poll() is None:
            worker.ask(**question)
    if perf.returncode:
        sys.exit('perf record failed: /proc/sys/kernel/perf_event_paranoid may be 2 at most')


def part_of(function, library):
    """Which of `PARTS` a function belongs to."""
    if 'bert' in function or re.search(r'kernels/[^/]*\.so', library):
        patterns, text, default = FUNCTIONS, function, ELEMENT_WISE
    else:
        patterns, text, default = LIBRARIES, library, SYSTEM
    return next((part for part, pattern in patterns if re.search(pattern, text)), default)


def time_shares(lines, threads, seconds):
    """{part: share of the time of all threads} from the output of `perf script -F ip,sym,dso`."""
    samples = collections.Counter()
    for line in lines:
        match = LINE.match(line)
        if match:
            samples[part_of(match['function'], match['library'])] += 1
    max_samples = threads * seconds * FREQUENCY
    samples['waiting'] = max(0, max_samples - sum(samples.values()))
    return {part: samples[part] / sum(samples.values()) for part in PARTS}


def main():
    args = make_parser().parse_args()
    if not shutil.which('perf'):
        sys.exit('no perf here: install linux-perf (Debian) or linux-tools (Ubuntu)')
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'perf.data')
        worker, question = start_worker(args, folder)
        with worker:
            record(worker, question, args.seconds, path)
        script = subprocess.run(['perf', 'script', '-i', path, '-F', 'ip,sym,dso'], text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    shares = time_shares(script.stdout.splitlines(), args.threads, args.seconds)
    harness.write_result(args.output, harness.make_result(args, shares=shares))
    for part, share in shares.items():
        print('%-18s %5.1f %%' % (part, 100 * share))


if __name__ == '__main__':
    main()
