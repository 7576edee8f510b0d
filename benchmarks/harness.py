"""What all comparisons share: the peers' environments, workers in subprocesses, result files.

A peer (PyTorch and transformers, say) has a virtual environment of its own. Its workers import no
module of `bert`: they exchange .npz and .json files with us. This module imports neither side.
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

from benchmarks.peer_pins import PINS

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
WEIGHTS = ('bert_6_384_12', 'all_minilm_l6_v2')     # the weights that every comparison starts from
WEIGHTS_WIDTH = 384         # of its layers

# Question answering, the same on both sides, in tokens: the defaults of finetune_squad.py and of
# transformers' run_qa example
MAX_SEQ_LENGTH = 384        # of a window
DOC_STRIDE = 128            # ours: between the starts of two windows; theirs: what two share
N_BEST = 20                 # ours: spans per question; theirs: starts and ends tried per window
MAX_ANSWER_LENGTH = 30

PR_SET_PDEATHSIG = 1            # of <linux/prctl.h>
PINS_FILE = 'installed.json'    # the pins of an environment; written when it is complete

RANGE_NOTE = 'median (lowest–highest) over the rounds; ratios are taken round by round'


def python_of(environment):
    """Path of the Python of a peer's environment. Makes the environment if it isn't there."""
    folder = REPOSITORY / ('.venv-' + environment)
    python = folder / 'bin' / 'python'
    pins = list(PINS[environment])
    if read_json(folder / PINS_FILE) != pins:
        print('making %s: %s' % (folder.name, ' '.join(pins)), file=sys.stderr)
        shutil.rmtree(str(folder), ignore_errors=True)
        venv.create(str(folder), with_pip=True)
        subprocess.run([str(python), '-m', 'pip', 'install', '--quiet'] + pins, check=True)
        write_json(folder / PINS_FILE, pins)
    return str(python)


def worker_command(environment, module, *arguments):
    """The command line of a worker, such as `benchmarks.squad.peer`, in `environment` ('ours' is
    this one)."""
    python = sys.executable if environment == 'ours' else python_of(environment)
    return [python, '-m', module] + [str(argument) for argument in arguments]


def worker_environ(threads):
    """Environment variables of a worker: its threads, the path to `benchmarks`, no downloads."""
    path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get('PYTHONPATH')]))
    return dict(os.environ, PYTHONPATH=path, OMP_NUM_THREADS=str(threads), HF_HUB_OFFLINE='1',
                HF_HUB_DISABLE_PROGRESS_BARS='1', TRANSFORMERS_VERBOSITY='error')


def run_worker(environment, module, *arguments, threads):
    """Run a worker to its end; SystemExit when it fails."""
    command = worker_command(environment, module, *arguments)
    if subprocess.run(command, env=worker_environ(threads)).returncode:
        sys.exit('%s failed' % module)


def run_script(script, *arguments):
    """Run a script of the package to its end, as a user does."""
    subprocess.run([sys.executable, str(REPOSITORY / 'bert' / script)]
                   + [str(argument) for argument in arguments], check=True)


def _end_with_parent():
    """Have Linux kill this process when its parent ends: a stopped process would stay."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Worker:
    """A worker that stays: it reads questions and writes answers, each one line of JSON.

    It is stopped (SIGSTOP) between two questions: threads that wait awake for work (ours and
    others' do, see `bert.flags.threads.prepare_mxnet`) would slow the worker whose turn it is."""

    def __init__(self, environment, module, *arguments, threads):
        self._name = ' '.join([module] + [str(argument) for argument in arguments])
        self._process = subprocess.Popen(
            worker_command(environment, module, *arguments), env=worker_environ(threads),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, universal_newlines=True, bufsize=1,
            preexec_fn=_end_with_parent)

    @property
    def pid(self):
        return self._process.pid

    def ask(self, **question):
        """Send `question`, return the answer."""
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


def answer_with_vectors(encode):
    """The worker's end for embedding: encode(texts, batch size) → vectors. A question is
    {'texts': a file, 'batch_size', 'output': file for the vectors}; the answer has seconds."""
    import numpy as np

    def answer(question):
        texts = read_json(question['texts'])
        started = time.time()
        vectors = encode(texts, question['batch_size'])
        seconds = time.time() - started
        np.save(question['output'], vectors)
        return {'seconds': seconds}
    answer_questions(answer)


def answer_with_times(compute):
    """The worker's end for inference: compute(*arrays) → logits. A question is {'size', 'length',
    'mean'} of a `random_batch`, and 'repeats'; the answer has the median of their seconds, and the
    logits."""
    import numpy as np

    def answer(question):
        batch = random_batch(question['size'], question['length'], mean=question.get('mean'))
        compute(*batch)     # the other workers' turns have emptied the caches
        seconds = []
        for _ in range(question.get('repeats', 1)):
            started = time.perf_counter()
            logits = compute(*batch)
            seconds.append(time.perf_counter() - started)
        return {'seconds': float(np.median(seconds)),
                'logits': np.asarray(logits, 'float64').ravel().tolist()}
    answer_questions(answer)


def use_threads(threads):
    """Have MXNet compute with `threads` threads: call it before mxnet is imported."""
    os.environ['OMP_NUM_THREADS'] = str(threads)


def peak_memory(pid='self'):
    """Peak memory of a process in bytes, 0 when it has just ended. Linux only."""
    # ru_maxrss would count what the parent had when it started this one
    with open('/proc/%s/status' % pid, encoding='ascii') as lines:
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith('VmHWM')), 0)


# Batches


def random_batch(size, length, seed=0, mean=None):
    """Random tokens, the same on both sides: token_ids, segment_ids (size, length) int32 and
    valid_length (size,) float32. Without `mean` nothing is padded; with it, lengths are `mean` on
    average and `length` at most."""
    import numpy as np
    rng = np.random.RandomState(seed)
    token_ids = rng.randint(1000, 20000, size=(size, length)).astype('int32')
    lengths = np.full(size, length, dtype='float32')
    if mean:
        rows_mean = (mean * size - length) / (size - 1)     # of all rows but the first, the longest
        lengths[1:] = rng.normal(rows_mean, rows_mean / 3, size - 1).round().clip(3, length)
        token_ids *= np.arange(length) < lengths[:, None]
    return token_ids, np.zeros_like(token_ids), lengths


def write_batches(path, batches, labels=()):
    """Write batches and the labels of all their examples as .npz. A batch is a tuple of token_ids,
    segment_ids (size, length) and valid_length (size,); all but the last have one size."""
    import numpy as np
    np.savez(str(path), labels=labels, size=len(batches[0][0]), **{
        'input%d' % i: np.concatenate([batch[i] for batch in batches]) for i in range(3)})


def read_batches(path):
    """(batches, labels) that `write_batches` wrote."""
    import numpy as np
    with np.load(str(path)) as archive:
        arrays, size = [archive['input%d' % i] for i in range(3)], int(archive['size'])
        return [tuple(array[start:start + size] for array in arrays)
                for start in range(0, len(arrays[0]), size)], archive['labels']


def accuracy(compute, batches, labels):
    """Share of the examples that `compute` (a batch's arrays → logits, NumPy) classifies right."""
    import numpy as np
    predictions = np.concatenate([compute(*batch).argmax(axis=1) for batch in batches])
    return float((predictions == labels).mean())


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


# Flags


def make_bare_parser(description):
    """A parser whose help shows the defaults."""
    return argparse.ArgumentParser(description=description,
                                   formatter_class=argparse.ArgumentDefaultsHelpFormatter)


def make_parser(description, output=None):
    """A parser with the flags of most comparisons; `output` is the default of --output."""
    parser = make_bare_parser(description)
    parser.add_argument('--data_dir', metavar='FOLDER',
                        help='folder of the data; default: as the script that trains looks')
    parser.add_argument('--threads', type=int, default=len(os.sched_getaffinity(0)),
                        help='CPU threads of either side')
    if output:
        parser.add_argument('--output', metavar='FILE', default=output, help='result file, JSON')
    return parser


def add_model_flag(parser, default=None, choices=('minilm', 'base')):
    """The sizes of a network with random weights. choices: of
    `benchmarks.inference.ours.config_of`."""
    parser.add_argument('--model', choices=choices, default=default, help='sizes of the network')


def add_corpus_flags(parser):
    """The text that a comparison pre-trains on, and its vocabulary."""
    parser.add_argument('--input_file', required=True, metavar='FILE',
                        help='one sentence a line, an empty line between documents')
    parser.add_argument('--vocab', default=WEIGHTS[1], metavar='NAME',
                        help='a corpus, or a vocab.txt')


def add_step_flags(parser):
    """For the workers of kernels/training_step.py."""
    parser.add_argument('--dtype')
    parser.add_argument('--batch_size', type=int)
    parser.add_argument('--length', type=int)


def add_pretraining_flags(parser):
    """For the workers of pretraining/speed.py."""
    parser.add_argument('--sizes', required=True, help='.json of the model')
    parser.add_argument('--examples', required=True, help='.npz of create_pretraining_data.py')
    parser.add_argument('--batch_size', type=int, required=True)
    parser.add_argument('--dtype', choices=('float32', 'bfloat16'), required=True)


def add_peer_flags(parser):
    """For the workers that run transformers: the weights, and how to train."""
    parser.add_argument('--weights', required=True, help='folder in Hugging Face layout')
    for flag, kind in (('seed', int), ('epochs', int), ('batch_size', int), ('lr', float)):
        parser.add_argument('--' + flag, type=kind)


def add_squad_flags(parser):
    """The files of SQuAD 1.1, for `squad_file`."""
    parser.add_argument('--train_file', metavar='FILE', help='the questions to train on')
    parser.add_argument('--dev_file', metavar='FILE', help='the questions to predict')


def squad_file(args, segment):
    """Path of 'train' or 'dev': the flag's, or where finetune_squad.py looks."""
    from bert.data.squad.download import locate_squad  # imports mxnet, which reads the threads
    return getattr(args, segment + '_file') or locate_squad(segment, data_dir=args.data_dir)


def comma_list(text):
    return [part.strip() for part in text.split(',')]


def int_list(text):
    return [int(part) for part in text.split(',')]


# Results


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


def make_result(args, peer='peer', **values):
    """The content of a result file: command, options, both sides' versions, hardware, `values`.
    peer: the environment of the peer, for its pins."""
    from bert.jobs.runs.results import environment
    module = os.path.relpath(os.path.realpath(sys.argv[0]), str(REPOSITORY)).replace('/', '.')
    result = {'command': ' '.join([module.removesuffix('.py')] + sys.argv[1:]),
              'options': vars(args), 'peer': list(PINS[peer]), 'load_average': os.getloadavg()[0]}
    result.update(environment(args.threads), **values)
    return result


def write_result(path, result):
    """Write a result file; print its hardware and versions."""
    write_json(path, result)
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


def median_and_range(values):
    return {'median': statistics.median(values), 'min': min(values), 'max': max(values)}


def ratio_range(numerators, denominators):
    """`median_and_range` of the ratios, round by round."""
    return median_and_range([a / b for a, b in zip(numerators, denominators)])


def format_range(values, digits=2):
    """A `median_and_range` as text. Of one round there is no range."""
    if values['min'] == values['max']:
        return '%.*f (one value)' % (digits, values['median'])
    return '%.*f (%.*f–%.*f)' % sum(((digits, values[k]) for k in ('median', 'min', 'max')), ())


def missed_goals(summary, goals):
    """Yield a line for each goal that is missed.

    summary: {contender: {'first_over_it': from `ratio_range`}}, the first contender first. goals:
    {(contender, other one): least ratio of their speeds}; a goal counts where the contender is the
    first one, and both were measured.
    """
    for (contender, other), goal in goals.items():
        if next(iter(summary)) == contender and other in summary:
            ratio = summary[other]['first_over_it']['median']
            if ratio < goal:
                yield '%s over %s: %.2f, and %.1f is the goal' % (contender, other, ratio, goal)


def print_round(title, values, value_format, separator=', '):
    """Print the values of a round. values: {contender: number}; value_format: such as '%.1f s'."""
    print('%s: %s' % (title, separator.join(
        '%s %s' % (contender, value_format % value) for contender, value in values.items())),
        flush=True)


def print_losses(losses):
    """Print (our loss, transformers' loss) of each step as a table."""
    print('%4s %12s %13s %11s' % ('step', 'ours', 'transformers', 'difference'))
    for step, (ours, theirs) in enumerate(losses, 1):
        print('%4d %12.7f %13.7f %11.1e' % (step, ours, theirs, abs(ours - theirs)))
