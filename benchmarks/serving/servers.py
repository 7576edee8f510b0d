"""The servers that the serving benchmarks compare: how each is started, stopped and asked."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import urllib.request

import numpy as np

from benchmarks import harness
from benchmarks.peer_pins import PINS

MODEL = 'model'     # the name of the model at every server
INFINITY, SMALL = 'peer-infinity', 'peer-serving'       # environments
INFINITY_PYTHON = 'python3.11'      # for the numpy that it needs there are no newer wheels
START_SECONDS = 300

# {contender: (side, how it computes)}; the ways of ours are those of `serve.py --dtype`
CONTENDERS = {
    'ours float32': ('ours', 'float32'), 'ours bfloat16': ('ours', 'bfloat16'),
    'ours int8': ('ours', 'int8'),
    'infinity torch float32': ('infinity', 'torch float32'),
    'infinity torch bfloat16': ('infinity', 'torch bfloat16'),
    'infinity ONNX': ('infinity', 'onnx'), 'infinity ONNX int8': ('infinity', 'onnx-int8'),
    'small float32': ('small', 'float32'), 'small bfloat16': ('small', 'bfloat16'),
    'small OpenVINO': ('small', 'openvino')}
# What a CPU must have for a type to be worth a measurement; any one of a tuple
NEEDED_FLAGS = {'bfloat16': ('avx512_bf16', 'amx_bf16')}
PATHS = {'ours': '/v1/embeddings', 'infinity': '/embeddings', 'small': '/embeddings'}
# The smallest cosine of a contender's vectors with those of sentence-transformers in float32
MIN_COSINE, MIN_COSINE_INT8 = 0.999, 0.97


def add_flags(parser):
    """The flags of all comparisons of servers."""
    parser.add_argument('--contenders', type=harness.comma_list, metavar='A,B,…',
                        help='of: %s; default: those that this CPU has instructions for'
                             % ', '.join(CONTENDERS))
    parser.add_argument('--models', metavar='FOLDER', default='serving-models',
                        help='for the models in the layouts of the servers; kept for the next run')
    parser.add_argument('--first_port', type=int, default=8101)
    parser.add_argument('--seed', type=int, default=1, help='of the texts, and of arrivals')


def pick_contenders(args):
    """The names of --contenders, or of all whose type this CPU has. Ends for a type that it lacks:
    the numbers would say nothing."""
    for name in args.contenders or ():
        if name not in CONTENDERS:
            sys.exit('--contenders: there is no "%s"; expected %s' % (name, ', '.join(CONTENDERS)))
        if (missing := missing_flags(name)):
            sys.exit('--contenders: %s needs a CPU with %s' % (name, ' or '.join(missing)))
    if args.contenders:
        return args.contenders
    names = [name for name in CONTENDERS if not missing_flags(name)]
    print('left out, because this CPU lacks the instructions: %s' % (
        ', '.join(name for name in CONTENDERS if name not in names) or 'none'), file=sys.stderr)
    return names


def missing_flags(name):
    """The CPU flags that would do for a contender, if this CPU has none of them; else ()."""
    needed = NEEDED_FLAGS.get(CONTENDERS[name][1].split()[-1], ())
    return () if not needed or set(needed) & set(cpu_flags()) else needed


def cpu_flags():
    with open('/proc/cpuinfo', encoding='utf-8') as lines:
        return next((line.split(':')[1].split() for line in lines if line.startswith('flags')), [])


def infinity_python():
    """Path of the Python of infinity's environment, as `harness.python_of`, but for the Python that
    makes it: with an older one than this, made anew it would be of this one."""
    folder = harness.REPOSITORY / ('.venv-' + INFINITY)
    pins = list(PINS[INFINITY])
    if harness.read_json(folder / harness.PINS_FILE) != pins:
        python = shutil.which(INFINITY_PYTHON)
        if python is None:
            sys.exit('infinity needs Python 3.11: install %s' % INFINITY_PYTHON)
        print('making %s: %s' % (folder.name, ' '.join(pins)), file=sys.stderr)
        shutil.rmtree(str(folder), ignore_errors=True)
        subprocess.run([python, '-m', 'venv', str(folder)], check=True)
        subprocess.run([str(folder / 'bin' / 'python'), '-m', 'pip', 'install', '--quiet'] + pins,
                       check=True)
        harness.write_json(folder / harness.PINS_FILE, pins)
    return str(folder / 'bin' / 'python')


# Models


def model_folder(args, kind):
    """Folder of a model in one of the layouts of peer_export.py, written if it isn't there."""
    folder = pathlib.Path(args.models).resolve() / kind
    if not folder.exists():
        from benchmarks.classifier.ours import weights_folder  # imports mxnet
        source = weights_folder() if kind in ('embedder', 'tiny', 'classifier') else \
            model_folder(args, 'embedder')
        scratch = folder.with_name(kind + '.tmp')
        shutil.rmtree(str(scratch), ignore_errors=True)
        quantization = 'avx512_vnni' if 'avx512_vnni' in cpu_flags() else 'avx2'
        harness.run_worker(SMALL, 'benchmarks.serving.peer_export', kind, source, scratch,
                           '--quantization', quantization, threads=args.threads)
        scratch.rename(folder)
    return folder


# The other servers refuse nothing; ours answers 429 by default once requests would wait 30 seconds
UNLIMITED = '--max_wait', '600'


def our_command(folder, dtype, threads, port, *arguments):
    """The command line of our server."""
    return [sys.executable, str(harness.REPOSITORY / 'bert' / 'serve.py'), '--model_dir',
            '%s=%s' % (MODEL, folder), '--dtype', dtype, '--threads', str(threads), '--port',
            str(port), *arguments]


def infinity_command(way, port):
    """The command line of infinity, for the folder of the model: it reads a network in ONNX only
    from the folder in which it is started. BetterTransformer is gone from its libraries."""
    engine, _, dtype = way.partition(' ')
    return [infinity_python(), '-c', 'from infinity_emb.cli import cli; cli()', 'v2', '--model-id',
            '.', '--served-model-name', MODEL, '--device', 'cpu', '--port', str(port),
            '--host', '127.0.0.1', '--engine', 'torch' if engine == 'torch' else 'optimum',
            '--dtype', dtype or 'auto', '--no-bettertransformer', '--pooling-method', 'mean',
            '--no-model-warmup']    # the measurements warm up, with texts of their own


def start(name, args, port):
    """The `Server` of a contender."""
    side, way = CONTENDERS[name]
    layout = way if way in ('onnx', 'onnx-int8', 'openvino') else 'embedder'
    folder = model_folder(args, layout)
    if side == 'ours':
        command = our_command(folder, way, args.threads, port, *UNLIMITED)
    elif side == 'infinity':
        command = infinity_command(way, port)
    else:
        command = harness.worker_command(SMALL, 'benchmarks.serving.peer_server', folder, '--way',
                                         way, '--port', port)
    return Server(name, command, port, args.threads, PATHS[side], folder)


# Processes


class Server:
    """A server in a process of its own, which is stopped (SIGSTOP) out of its turn, as a
    `harness.Worker` is. command: its command line, for the folder of its model; path: of the
    requests."""

    def __init__(self, name, command, port, threads, path, folder):
        self.name, self.port, self.path = name, port, path
        environ = dict(harness.worker_environ(threads), DO_NOT_TRACK='1',
                       INFINITY_ANONYMOUS_USAGE_STATS='0', TRANSFORMERS_OFFLINE='1',
                       HF_HUB_CACHE=str(folder) + '.cache')     # where infinity keeps networks
        self._log = open('%s.%s.log' % (folder, name.replace(' ', '-')), 'w', encoding='utf-8')
        # setpriv has Linux end the server when this process is killed
        self._process = subprocess.Popen(['setpriv', '--pdeathsig', 'KILL'] + command, env=environ,
                                         cwd=str(folder), stdout=self._log, stderr=self._log)

    @property
    def pid(self):
        return self._process.pid

    def wait_until_ready(self):
        """Wait until it takes requests, and let it rest then."""
        deadline = time.time() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.time() > deadline:
                sys.exit('%s did not start: see %s' % (self.name, self._log.name))
            time.sleep(0.3)
        self.rest()

    def _answers(self):
        try:
            with urllib.request.urlopen('http://127.0.0.1:%d/openapi.json' % self.port, timeout=10):
                return True
        except OSError:
            return False

    def embed(self, texts):
        """The vectors of texts, float64."""
        body = json.dumps({'model': MODEL, 'input': texts}).encode()
        request = urllib.request.Request('http://127.0.0.1:%d%s' % (self.port, self.path), body,
                                         {'Content-Type': 'application/json'})
        with urllib.request.urlopen(request, timeout=60) as response:
            data = json.load(response)['data']
        return np.array([item['embedding'] for item in data])

    def rest(self):
        self._process.send_signal(signal.SIGSTOP)

    def wake(self):
        self._process.send_signal(signal.SIGCONT)

    def memory(self):
        """Resident memory in bytes."""
        with open('/proc/%d/statm' % self.pid, encoding='ascii') as numbers:
            return int(numbers.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')

    def processor_seconds(self):
        """Processor time until now, of all threads."""
        with open('/proc/%d/stat' % self.pid, encoding='ascii') as line:
            fields = line.read().rsplit(') ', 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')

    def __enter__(self):
        self.wait_until_ready()
        return self

    def __exit__(self, *exception):
        self.wake()
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._log.close()


def start_servers(args, names, stack):
    """{contender: `Server`}, entered into an `ExitStack`, one after the other."""
    return {name: stack.enter_context(start(name, args, args.first_port + i))
            for i, name in enumerate(names)}


class Client:
    """The load generator, in a process of its own."""

    def __init__(self, stack):
        self._worker = stack.enter_context(harness.Worker('ours', 'benchmarks.serving.load',
                                                          threads=1))

    def ask(self, server, bodies, **question):
        """Put a load on a server; what `load.Run` answers, with the processor time of the server.
        bodies: a JSON file. Ends when a request failed."""
        server.wake()
        before = server.processor_seconds()
        answer = self._worker.ask(port=server.port, path=server.path, bodies=str(bodies),
                                  **question)
        answer['server_seconds'] = server.processor_seconds() - before
        server.rest()
        if answer['failures']:
            sys.exit('%s: requests failed: %s' % (server.name, answer['failures']))
        return answer


def check_vectors(servers, texts, reference='small float32'):
    """{contender: smallest cosine with the vectors of the reference, else of the first contender}.
    Ends when one is too small: the servers would do different work."""
    vectors = {}
    for name, server in servers.items():
        server.wake()
        vectors[name] = server.embed(texts)
        server.rest()
    expected = vectors.get(reference, next(iter(vectors.values())))
    cosines = {name: float(min(
        np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(rows, expected)))
        for name, rows in vectors.items()}
    print('smallest cosines: ' + ', '.join('%s %.5f' % item for item in cosines.items()))
    for name, cosine in cosines.items():
        if cosine < (MIN_COSINE_INT8 if name.endswith('int8') else MIN_COSINE):
            sys.exit('%s: its vectors are others: a cosine of %.4f' % (name, cosine))
    return cosines


def wanted_pins():
    """The releases in the environments of the peers."""
    return list(PINS[SMALL]) + list(PINS[INFINITY])
