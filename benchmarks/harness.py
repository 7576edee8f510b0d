"""What all comparisons share: the peer's own environment, workers in subprocesses, JSON.

The peer (PyTorch and transformers) never meets our packages: it lives in a virtual environment
of its own and exchanges .npz and .json files with us. This module imports neither side.
"""
import argparse
import ctypes
import json
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import time
import venv

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
WEIGHTS = ('bert_6_384_12', 'all_minilm_l6_v2')     # the weights that every comparison starts from

# Question answering, the same on both sides, in tokens: the defaults of finetune_squad.py and of
# transformers' run_qa example
MAX_SEQ_LENGTH = 384        # of a window
DOC_STRIDE = 128            # ours: between the starts of two windows; theirs: what two share
N_BEST = 20                 # spans kept a question; theirs: starts and ends tried a window
MAX_ANSWER_LENGTH = 30

# {environment: what pip installs into it}; each lives in <repository>/.venv-<environment>
PINS = {
    'peer': ('torch==2.13.0', 'transformers==5.23.0', 'numpy==2.4.6', 'safetensors==0.8.0',
             'scikit-learn==1.9.1', 'scipy==1.17.1'),
    # the newest of sentence-transformers that takes ONNX Runtime and OpenVINO in one environment
    'peer-embedding': ('sentence-transformers[onnx,openvino]==5.2.0', 'torch==2.13.0',
                       'transformers==4.57.6', 'optimum==2.1.0', 'optimum-onnx==0.1.0',
                       'optimum-intel==1.27.0', 'onnxruntime==1.31.1', 'openvino==2026.4.1',
                       'onnx==1.23.2', 'numpy==2.4.6'),
    # what runs an exported model
    'peer-inference': ('torch==2.13.0', 'transformers==5.23.0', 'numpy==2.4.6',
                       'safetensors==0.8.0', 'onnxruntime==1.31.1', 'openvino==2026.4.1',
                       'nncf==3.4.0', 'onnx==1.23.2'),
    # a library, not a package: its headers, and code for all CPUs since SSE 4.1
    'peer-onednn': ('onednn-cpu-gomp==2023.2.0', 'onednn-devel-cpu-gomp==2023.2.0'),
    # the last release of what became of the tool of seed 004 that takes MXNet; its numpy installs
    # on Python 3.11 and older only
    'peer-tuning': ('neural-compressor==2.6', 'mxnet==1.9.1', 'numpy==1.23.5', 'packaging==24.2',
                    'setuptools==75.8.0', 'six==1.17.0'),
    # the last series with WordPiece written in Python, which owes nothing to `tokenizers`
    'peer-tokenizer': ('transformers==4.57.6', 'numpy==2.4.6'),
}
PR_SET_PDEATHSIG = 1            # of <linux/prctl.h>
INSTALLED = 'installed.json'    # in an environment that is complete: its pins


def python_of(environment):
    """Path of the Python of a peer's environment, which is made when it isn't there."""
    folder = REPOSITORY / ('.venv-' + environment)
    python = folder / 'bin' / 'python'
    pins = list(PINS[environment])
    if read_json(folder / INSTALLED) != pins:
        print('making %s: %s' % (folder.name, ' '.join(pins)), file=sys.stderr)
        shutil.rmtree(str(folder), ignore_errors=True)
        venv.create(str(folder), with_pip=True)
        subprocess.run([str(python), '-m', 'pip', 'install', '--quiet'] + pins, check=True)
        write_json(folder / INSTALLED, pins)
    return str(python)


def command_of(environment, module, *arguments):
    """The command line of a worker, such as `benchmarks.squad.peer`, in `environment` ('ours' is
    this one)."""
    python = sys.executable if environment == 'ours' else python_of(environment)
    return [python, '-m', module] + [str(argument) for argument in arguments]


def environ_of(threads):
    """Environment variables of a worker: its threads, the way to `benchmarks`, and nothing from the
    network."""
    path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get('PYTHONPATH')]))
    return dict(os.environ, PYTHONPATH=path, OMP_NUM_THREADS=str(threads), HF_HUB_OFFLINE='1',
                HF_HUB_DISABLE_PROGRESS_BARS='1', TRANSFORMERS_VERBOSITY='error')


def run(environment, module, *arguments, threads):
    """Run a worker to its end; SystemExit when it fails."""
    command = command_of(environment, module, *arguments)
    if subprocess.run(command, env=environ_of(threads)).returncode:
        sys.exit('%s failed' % module)


def run_script(script, *arguments):
    """Run a script of the package to its end, as a user does."""
    subprocess.run([sys.executable, str(REPOSITORY / 'bert' / script)]
                   + [str(argument) for argument in arguments], check=True)


def _end_with_parent():
    """Have Linux kill this process when its parent ends: one that is stopped would stay."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Worker:
    """A worker that stays: it answers one JSON line on its output to one on its input.

    Between two questions it is stopped: threads that wait awake for work (ours and others' do, see
    `bert.flags.common.prepare_mxnet`) would take the processor from whoever's turn it is."""

    def __init__(self, environment, module, *arguments, threads):
        self._name = ' '.join([module] + [str(argument) for argument in arguments])
        self._process = subprocess.Popen(
            command_of(environment, module, *arguments), env=environ_of(threads),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, universal_newlines=True, bufsize=1,
            preexec_fn=_end_with_parent)

    @property
    def pid(self):
        return self._process.pid

    def ask(self, **question):
        """Hand over `question`, wait for the answer."""
        self._process.send_signal(signal.SIGCONT)
        try:
            self._process.stdin.write(json.dumps(question) + '\n')
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ''
        if not answer:
            sys.exit('%s ended with exit status %d' % (self._name, self._process.wait()))
        self._process.send_signal(signal.SIGSTOP)
        return json.loads(answer)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._process.stdin.close()
        self._process.send_signal(signal.SIGCONT)
        self._process.wait()


def answer_questions(answer):
    """The worker's end of `Worker`: answer(question) → JSON, until the input ends."""
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)


def answer_texts(encode):
    """The same for a worker that embeds: encode(texts, batch size) → vectors. The questions are
    {'texts': a file, 'batch_size', 'output': where the vectors go}, the answers seconds."""
    import numpy as np

    def answer(question):
        texts = read_json(question['texts'])
        started = time.time()
        vectors = encode(texts, question['batch_size'])
        seconds = time.time() - started
        np.save(question['output'], vectors)
        return {'seconds': seconds}
    answer_questions(answer)


def random_batch(size, length, seed=0, mean=None):
    """token_ids, segment_ids (size, length) int32 and valid_length (size,) float32: random tokens
    without padding, or of lengths that are `mean` on average and `length` at most, the same on both
    sides."""
    import numpy as np
    rng = np.random.RandomState(seed)
    token_ids = rng.randint(1000, 20000, size=(size, length)).astype('int32')
    lengths = np.full(size, length, dtype='float32')
    if mean:
        others = (mean * size - length) / (size - 1)     # the first one is the longest
        lengths[1:] = rng.normal(others, others / 3, size - 1).round().clip(3, length)
        token_ids *= np.arange(length) < lengths[:, None]
    return token_ids, np.zeros_like(token_ids), lengths


def answer_timed(compute):
    """The worker's end where a way to compute is timed: compute(*arrays) → logits. The questions
    are {'size', 'length', 'mean'} of a `random_batch`, and how many 'repeats' to take the median
    of; the answers are its seconds and the logits."""
    import numpy as np

    def answer(question):
        batch = random_batch(question['size'], question['length'], mean=question.get('mean'))
        compute(*batch)     # the others' turns have emptied the caches
        seconds = []
        for _ in range(question.get('repeats', 1)):
            started = time.perf_counter()
            logits = compute(*batch)
            seconds.append(time.perf_counter() - started)
        return {'seconds': float(np.median(seconds)),
                'logits': np.asarray(logits, 'float64').ravel().tolist()}
    answer_questions(answer)


def write_batches(path, batches, labels=()):
    """Batches of examples, each a tuple of token_ids, segment_ids (size, length) and valid_length
    (size,), and the classes of all as .npz; batches are of one size but the last."""
    import numpy as np
    np.savez(str(path), labels=labels, size=len(batches[0][0]), **{
        'input%d' % i: np.concatenate([batch[i] for batch in batches]) for i in range(3)})


def read_batches(path):
    """(batches, labels) that `write_batches` wrote."""
    import numpy as np
    with np.load(str(path)) as found:
        arrays, size = [found['input%d' % i] for i in range(3)], int(found['size'])
        return [tuple(array[start:start + size] for array in arrays)
                for start in range(0, len(arrays[0]), size)], found['labels']


def accuracy(compute, batches, labels):
    """Share of the examples whose class `compute` (of a batch's arrays → logits, NumPy) finds."""
    import numpy as np
    found = np.concatenate([compute(*batch).argmax(axis=1) for batch in batches])
    return float((found == labels).mean())


def read_json(path):
    """The content of a JSON file, None when it isn't there."""
    try:
        return json.loads(pathlib.Path(path).read_text(encoding='utf-8'))
    except FileNotFoundError:
        return None


def write_json(path, value):
    """Write whole or not at all."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + '.tmp')
    temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False) + '\n', encoding='utf-8')
    os.replace(str(temporary), str(path))


def make_parser(description, output=None):
    """A parser with the flags of every comparison; `output` is the default of --output."""
    parser = argparse.ArgumentParser(description=description,
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--data_dir', metavar='FOLDER',
                        help='folder of the data; default: as the script that trains looks')
    parser.add_argument('--threads', type=int, default=len(os.sched_getaffinity(0)),
                        help='CPU threads of either side')
    if output:
        parser.add_argument('--output', metavar='FILE', default=output, help='result file, JSON')
    return parser


def add_corpus_flags(parser):
    """The text that a comparison pre-trains on, and its vocabulary."""
    parser.add_argument('--input_file', required=True, metavar='FILE',
                        help='one sentence a line, an empty line between documents')
    parser.add_argument('--vocab', default=WEIGHTS[1], metavar='NAME')


def add_step_flags(parser):
    """What the workers of training_step.py are told."""
    parser.add_argument('--dtype')
    parser.add_argument('--batch_size', type=int)
    parser.add_argument('--length', type=int)


def add_squad_flags(parser):
    """The files of SQuAD 1.1, for `squad_file`."""
    parser.add_argument('--train_file', metavar='FILE', help='the questions to train on')
    parser.add_argument('--dev_file', metavar='FILE', help='the questions to predict')


def squad_file(args, segment):
    """Path of 'train' or 'dev': the flag's, or where finetune_squad.py looks."""
    from bert.data.squad.download import locate_squad  # imports mxnet, which reads the threads
    return getattr(args, segment + '_file') or locate_squad(segment, data_dir=args.data_dir)


def select_questions(content, ids):
    """The content of a SQuAD file with these questions only, in its order."""
    articles = []
    for article in content['data']:
        paragraphs = [dict(paragraph, qas=[qa for qa in paragraph['qas'] if qa['id'] in ids])
                      for paragraph in article['paragraphs']]
        paragraphs = [paragraph for paragraph in paragraphs if paragraph['qas']]
        if paragraphs:
            articles.append(dict(article, paragraphs=paragraphs))
    return dict(content, data=articles)


def peak_memory(process='self'):
    """Bytes that a process, by its number, had in memory at most; 0 when it has just ended. Linux
    only."""
    # ru_maxrss would count what the parent had when it started this one
    with open('/proc/%s/status' % process, encoding='ascii') as lines:
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith('VmHWM')), 0)


def use_threads(threads):
    """Have MXNet compute with `threads` threads: call it before mxnet is imported."""
    os.environ['OMP_NUM_THREADS'] = str(threads)


def comma_list(text):
    return [part.strip() for part in text.split(',')]


def seed_list(text):
    return [int(part) for part in text.split(',')]


def report(args, **values):
    """The result so far: command, options, both sides' versions, hardware, `values`."""
    from bert.jobs.runs.results import environment
    result = {'command': ' '.join([os.path.basename(sys.argv[0])] + sys.argv[1:]),
              'options': vars(args), 'peer': list(PINS['peer']),
              'load_average': os.getloadavg()[0]}
    result.update(environment(args.threads), **values)
    return result


def median_and_range(values):
    return {'median': statistics.median(values), 'min': min(values), 'max': max(values)}


def cell(values):
    """A `median_and_range` as text."""
    return '%.2f (%.2f–%.2f)' % (values['median'], values['min'], values['max'])


def describe(result):
    """Print hardware and versions of a result."""
    hardware = result['hardware']
    print('%s, %d cores, %d threads; %s' % (hardware['cpu'], hardware['cores'],
                                           hardware['threads'], ' '.join(hardware['cpu_flags'])))
    print('ours: ' + ' '.join('%s %s' % item for item in sorted(result['versions'].items())))
    print('peer: ' + ' '.join(result['peer']))


def warn_if_busy(result):
    """Other work on the machine slows some contenders more than others."""
    if result['load_average'] > result['hardware']['threads'] + 0.5:
        print('the load average was %.1f with %d threads here: other work ran on this machine, '
              'measure again on a quiet one' % (result['load_average'],
                                                result['hardware']['threads']))
