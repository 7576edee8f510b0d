"""Kill a real run with SIGKILL at random steps, resume it, compare the parameters.

The first run goes to its end undisturbed. Each further run is killed up to half a second after a
random step, resumed, and must end with the same bytes. --run chooses what runs: fine-tuning a
classifier, pre-training in one process, or pre-training by two workers of Horovod, where the script
kills a single worker. Exit code 1 when a run differs.
"""
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from benchmarks import harness

BERT = harness.REPOSITORY / 'bert'
SIZES = {'num_layers': 4, 'units': 128, 'hidden_size': 512, 'num_heads': 2, 'max_length': 128}
EPOCHS, BATCH_SIZE = 2, 8       # of the classifier


def make_parser():
    parser = harness.make_bare_parser(__doc__)
    parser.add_argument('--run', choices=sorted(RUNS), default='classifier', help='what is killed')
    parser.add_argument('--kills', type=int, default=20, help='runs that are killed')
    parser.add_argument('--steps', type=int, default=80, help='optimizer steps of a run')
    parser.add_argument('--ckpt_interval', type=int, default=7, help='steps between checkpoints')
    parser.add_argument('--seed', type=int, default=1, help='of the steps at which to kill')
    parser.add_argument('--threads', type=int, help='of each process; default: the script\'s')
    parser.add_argument('--output', default='kill_and_resume.json', help='JSON report')
    return parser


class ClassifierRun:
    """finetune_classifier.py with MiniLM on RottenTomatoes."""
    script, folder_flag, launcher = 'finetune_classifier.py', '--output_dir', []

    def __init__(self, args, work):
        self._args = args
        self._flags = ['--task_name', 'RottenTomatoes', '--bert_model', 'bert_6_384_12', '--epochs',
                       EPOCHS, '--batch_size', BATCH_SIZE, '--max_train_samples',
                       args.steps * BATCH_SIZE // EPOCHS, '--max_eval_samples', 32,
                       '--log_interval', 1, '--ckpt_interval', args.ckpt_interval]

    def command(self, folder, *flags):
        """The command line for `folder`: of a new run, or with `flags` in place of its own."""
        words = self.launcher + [sys.executable, BERT / self.script]
        words += list(flags or self._flags) + [self.folder_flag, folder]
        words += ['--threads', self._args.threads] if self._args.threads else []
        return list(map(str, words))

    def logged_step(self, line):
        """The step in a line of the log, 0 without one."""
        match = re.search(r'\[Epoch (\d+) Batch (\d+)/(\d+)\]', line)
        if not match:
            return 0
        epoch, batch, num_batches = map(int, match.groups())
        return (epoch - 1) * num_batches + batch

    def pid_to_kill(self, process, folder):
        """The process to kill: `process`, which runs the command line, or a child."""
        return process.pid


class PretrainingRun(ClassifierRun):
    """run_pretraining.py with a small BERT on the sample text, over several epochs."""
    script, folder_flag = 'run_pretraining.py', '--ckpt_dir'

    def __init__(self, args, work):
        self._args = args
        (work / 'sizes.json').write_text(json.dumps(SIZES))
        harness.run_script('create_pretraining_data.py', '--input_file', 'sample_text.txt',
                           '--vocab', 'all_minilm_l6_v2', '--output_dir', work / 'data')
        self._flags = ['--data', work / 'data' / '*.npz', '--data_eval', work / 'data' / '*.npz',
                       '--bert_config', work / 'sizes.json', '--dataset_name',
                       work / 'data' / 'vocab.txt', '--num_steps', args.steps, '--num_buckets', 4,
                       '--batch_size', 8, '--accumulate', 2, '--log_interval', 1,
                       '--ckpt_interval', args.ckpt_interval]

    def logged_step(self, line):
        match = re.search(r'\[step (\d+)\]', line)
        return int(match.group(1)) if match else 0


class HorovodRun(PretrainingRun):
    """The same with two workers of Horovod; the script kills a single worker."""
    script = 'run_pretraining_hvd.py'

    def __init__(self, args, work):
        super().__init__(args, work)
        horovodrun = pathlib.Path(sys.executable).with_name('horovodrun')
        if not horovodrun.exists():
            sys.exit('Horovod is not installed: ./run horovodrun --version installs it')
        self.launcher = [horovodrun, '-np', 2, '-H', 'localhost:2']
        self._rng = random.Random(args.seed)

    def pid_to_kill(self, process, folder):
        pattern = '^%s .*%s.*%s' % (sys.executable, self.script, folder)
        return self._rng.choice(list(map(int, subprocess.check_output(
            ['pgrep', '-f', pattern], text=True).split())))


RUNS = {'classifier': ClassifierRun, 'pretraining': PretrainingRun, 'workers': HorovodRun}


def run_to_end(command):
    """Run to the end; returns the log."""
    return subprocess.run(command, check=True, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True).stderr


def run_and_kill(run, folder, step, delay):
    """Start a run, and kill -9 it `delay` seconds after `step` appeared in its log."""
    process = subprocess.Popen(run.command(folder), stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, universal_newlines=True)
    line = ''
    while run.logged_step(line) < step:
        previous_line, line = line, process.stderr.readline()
        assert line, 'the run ended before step %d: %s' % (step, previous_line)
    time.sleep(delay)       # to anywhere in a step, or in writing a checkpoint
    os.kill(run.pid_to_kill(process, folder), signal.SIGKILL)
    process.communicate()


def digest_checkpoint(folder):
    """sha256 of the newest checkpoint: of its parameters and the arrays of the optimizer."""
    checkpoint = folder / json.loads((folder / 'checkpoints.json').read_text())['newest']
    total = hashlib.sha256()
    for name in ('model.params', 'optimizer.params'):
        total.update((checkpoint / name).read_bytes())
    return total.hexdigest()


def main():
    args = make_parser().parse_args()
    rng = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as parent:
        parent = pathlib.Path(parent)
        run = RUNS[args.run](args, parent)
        run_to_end(run.command(parent / 'whole'))
        expected = digest_checkpoint(parent / 'whole')
        print('undisturbed, %d steps: %s' % (args.steps, expected[:16]), flush=True)
        outcomes = []
        for step in [rng.randrange(1, args.steps) for _ in range(args.kills)]:
            folder = parent / 'killed'
            run_and_kill(run, folder, step, rng.random() / 2)
            log = run_to_end(run.command(folder, '--resume'))
            outcomes.append({'step': step, 'equal': digest_checkpoint(folder) == expected,
                             'from_checkpoint': 'resumed from' in log})
            print('killed after step %d, resumed from %s: %s' % (
                step, 'a checkpoint' if outcomes[-1]['from_checkpoint'] else 'the start',
                'equal' if outcomes[-1]['equal'] else 'DIFFERENT'), flush=True)
            shutil.rmtree(str(folder))
    num_equal = sum(outcome['equal'] for outcome in outcomes)
    print('%d of %d equal' % (num_equal, len(outcomes)))
    harness.write_json(args.output, {'run': args.run, 'steps': args.steps, 'sha256': expected,
                                     'kills': outcomes})
    return 0 if num_equal == len(outcomes) else 1


if __name__ == '__main__':
    sys.exit(main())
