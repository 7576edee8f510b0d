"""Where the time goes of what the fused kernels compute: products, attention, and what is between.

One process works on and on, training MRPC from its file's examples to updated weights, or on one
batch of random tokens: training steps, or forward passes of a classifier. Linux's perf (package
linux-perf) looks at it many times a second, at the function that each thread is in; nothing is
built for it. What perf doesn't see is a thread that waits. The products of attention are among the
products; what is between them, softmax above all, is attention. Packing brings operands of products
into the order in which they are read, and computes some of them again.
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

# What a function belongs to: the first of these that is found in its name
FUNCTIONS = (('optimizer', r'Adam|Lamb|Updated|Piece'),
             ('attention', r'Attention'),
             ('products', r'multiply_tile'),
             ('packing', r'\bpack(_left|_transposed)?<|::sum_weight|take\b|scale_of'))
ELEMENT_WISE = 'element-wise'   # all else in the kernels: activation, normalisation, dropout, sums
# The same of libraries, where no function is of the kernels
LIBRARIES = (('MXNet', r'libmxnet'), ('Python', r'python|_multiarray|\.cpython|ctypes|ffi'),
             ('waiting awake', r'libgomp'))
OTHERS = 'system and others'
PARTS = ('products', 'packing', 'attention', ELEMENT_WISE, 'optimizer', 'MXNet', 'Python',
         'waiting awake', OTHERS, 'waiting')
FREQUENCY = 499     # looks a second, at each thread that computes
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


def start(args, folder):
    """(worker, question that keeps it busy for some seconds)"""
    if args.work == 'mrpc':
        from benchmarks.classifier import speed as finetune_classifier
        args.batch_size, args.max_len = 32, 128     # of that comparison
        path = os.path.join(folder, 'train.npz')
        number, outputs, weights = finetune_classifier.prepare(args, 'MRPC', path)
        worker = finetune_classifier.start('ours ' + args.dtype, args, 'MRPC', path, outputs,
                                           weights)
        return worker, {'indices': finetune_classifier.draw(number, 960, 1, 0)}
    if args.work == 'step':
        return harness.Worker('ours', 'benchmarks.kernels.ours_step', '--model', args.model,
                              '--dtype', args.dtype, '--batch_size', args.shape['size'],
                              '--length', args.shape['length'], threads=args.threads), {'steps': 1}
    way = 'fused' if args.dtype == 'float32' else 'fused-' + args.dtype
    return harness.Worker('ours', 'benchmarks.inference.ours', '--model', args.model, '--way', way,
                          threads=args.threads), args.shape


def record(worker, question, seconds, path):
    """Have perf look at a worker that is busy all the time."""
    worker.ask(**question)
    with subprocess.Popen(['perf', 'record', '-q', '-F', str(FREQUENCY), '-o', path, '-p',
                           str(worker.pid), '--', 'sleep', str(seconds)]) as perf:
        while perf.poll() is None:
            worker.ask(**question)
    if perf.returncode:
        sys.exit('perf record failed: /proc/sys/kernel/perf_event_paranoid may be 2 at most')


def part_of(function, library):
    """Which of `PARTS` a function is."""
    if 'bert' in function or re.search(r'kernels/[^/]*\.so', library):
        names, text, otherwise = FUNCTIONS, function, ELEMENT_WISE
    else:
        names, text, otherwise = LIBRARIES, library, OTHERS
    return next((name for name, pattern in names if re.search(pattern, text)), otherwise)


def count(lines, threads, seconds):
    """{part: share of the time of all threads} of what `perf script -F ip,sym,dso` printed."""
    found = collections.Counter()
    for line in lines:
        match = LINE.match(line)
        if match:
            found[part_of(match['function'], match['library'])] += 1
    most = threads * seconds * FREQUENCY
    found['waiting'] = max(0, most - sum(found.values()))
    return {part: found[part] / sum(found.values()) for part in PARTS}


def main():
    args = make_parser().parse_args()
    if not shutil.which('perf'):
        sys.exit('no perf here: install linux-perf (Debian) or linux-tools (Ubuntu)')
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'perf.data')
        worker, question = start(args, folder)
        with worker:
            record(worker, question, args.seconds, path)
        printed = subprocess.run(['perf', 'script', '-i', path, '-F', 'ip,sym,dso'], text=True,
                                 stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    shares = count(printed.stdout.splitlines(), args.threads, args.seconds)
    result = harness.report(args, shares=shares)
    harness.write_json(args.output, result)
    harness.describe(result)
    for part, share in shares.items():
        print('%-18s %5.1f %%' % (part, 100 * share))


if __name__ == '__main__':
    main()
