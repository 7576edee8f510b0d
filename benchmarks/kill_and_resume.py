"""Kill a real fine-tuning run with SIGKILL at random steps, resume it, compare the parameters.

One run goes to its end undisturbed; each of the others is killed up to half a second after a random
step, resumed, and must end with the same bytes. Exit code 1 when one differs.
"""
import argparse
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'bert',
                      'finetune_classifier.py')


def make_parser():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--kills', type=int, default=20, help='runs that are killed')
    parser.add_argument('--examples', type=int, default=320, help='training examples')
    parser.add_argument('--ckpt_interval', type=int, default=7, help='steps between checkpoints')
    parser.add_argument('--seed', type=int, default=1, help='of the steps at which to kill')
    parser.add_argument('--output', default='kill_and_resume.json', help='JSON report')
    return parser


def command(args, folder):
    return [sys.executable, SCRIPT, '--task_name', 'RottenTomatoes', '--bert_model',
            'bert_6_384_12', '--epochs', '2', '--batch_size', '8', '--max_train_samples',
            str(args.examples), '--max_eval_samples', '32', '--log_interval', '1',
            '--ckpt_interval', str(args.ckpt_interval), '--output_dir', folder]


def run(arguments):
    """Run to the end; returns the log."""
    return subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True).stderr


def run_until(arguments, step, delay):
    """Start, and kill -9 `delay` seconds after `step` log lines of training have come."""
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                               universal_newlines=True)
    seen = 0
    while seen < step:
        line = process.stderr.readline()
        assert line, 'the run ended before step %d' % step
        seen += bool(re.search(r'\[Epoch \d+ Batch ', line))
    time.sleep(delay)       # anywhere in a step, in a checkpoint too
    process.kill()
    process.communicate()


def digest(folder):
    """sha256 of the parameters and the optimizer's arrays of the newest checkpoint."""
    with open(os.path.join(folder, 'checkpoints.json'), encoding='utf-8') as index:
        checkpoint = os.path.join(folder, json.load(index)['newest'])
    total = hashlib.sha256()
    for name in ('model.params', 'optimizer.params'):
        with open(os.path.join(checkpoint, name), 'rb') as content:
            total.update(content.read())
    return total.hexdigest()


def main():
    args = make_parser().parse_args()
    steps = 2 * args.examples // 8
    rng = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as parent:
        whole = os.path.join(parent, 'whole')
        run(command(args, whole))
        expected = digest(whole)
        print('undisturbed, %d steps: %s' % (steps, expected[:16]), flush=True)
        outcomes = []
        for step in [rng.randrange(1, steps) for _ in range(args.kills)]:
            folder = os.path.join(parent, 'killed')
            run_until(command(args, folder), step, rng.random() / 2)
            log = run([sys.executable, SCRIPT, '--resume', '--output_dir', folder])
            outcomes.append({'step': step, 'equal': digest(folder) == expected,
                             'from_checkpoint': 'resumed from' in log})
            print('killed after step %d, resumed from %s: %s' % (
                step, 'a checkpoint' if outcomes[-1]['from_checkpoint'] else 'the start',
                'equal' if outcomes[-1]['equal'] else 'DIFFERENT'), flush=True)
            shutil.rmtree(folder)
    equal = sum(outcome['equal'] for outcome in outcomes)
    print('%d of %d equal' % (equal, len(outcomes)))
    with open(args.output, 'w', encoding='utf-8') as out:
        json.dump({'steps': steps, 'sha256': expected, 'kills': outcomes}, out, indent=1)
    return 0 if equal == len(outcomes) else 1


if __name__ == '__main__':
    sys.exit(main())
