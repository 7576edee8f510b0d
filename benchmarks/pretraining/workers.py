"""Two Horovod workers of one thread beside one process of two threads.

Both train BERT base from random weights, with the same examples in each step, by
run_pretraining.py: in one process --examples of them, under horovodrun half of them in each worker.
The seconds of a step are those of the log. In each round one contender runs after the other. Needs
Horovod: `./run horovodrun --version` builds it. Compare within one run only, on a machine without
other work.
"""
import json
import pathlib
import re
import subprocess
import sys
import tempfile

from benchmarks import harness
from benchmarks.pretraining.speed import MODELS, make_examples

WORKERS = 2
CONTENDERS = 'one process', 'two workers'
LINE = re.compile(r'\[step (\d+)\].*latency=([0-9.]+) ms/step')


def make_parser():
    parser = harness.make_parser(__doc__, 'workers.json')
    harness.add_corpus_flags(parser)
    parser.add_argument('--max_seq_length', type=int, default=128)
    parser.add_argument('--short_seq_prob', type=float, default=0.1)
    parser.add_argument('--max_predictions_per_seq', type=int, default=20)
    parser.add_argument('--model', choices=MODELS, default='base')
    parser.add_argument('--examples', type=int, default=64, help='of all workers, in a step')
    parser.add_argument('--dtype', choices=('float32', 'bfloat16'), default='bfloat16')
    parser.add_argument('--optimizer', default='lamb')
    parser.add_argument('--steps', type=int, default=4, help='measured, after as many for warm-up')
    parser.add_argument('--rounds', type=int, default=3)
    return parser


def command(contender, args, work, folder):
    """The command line of a contender."""
    is_single = contender == CONTENDERS[0]
    batch_size = args.examples if is_single else args.examples // WORKERS
    python = [sys.executable, harness.REPOSITORY / 'bert' / 'run_pretraining.py']
    run = [pathlib.Path(sys.executable).with_name('horovodrun'), '-np', WORKERS, '-H',
           'localhost:%d' % WORKERS]
    return list(map(str, [
        *(python if is_single else run + python), '--data', work / 'data' / '*.npz',
        '--bert_config', work / 'sizes.json', '--dataset_name', args.vocab, '--dtype', args.dtype,
        '--optimizer', args.optimizer, '--batch_size', batch_size, '--threads',
        WORKERS if is_single else 1, '--num_steps', 2 * args.steps, '--log_interval', args.steps,
        '--lr', 1e-4, '--ckpt_dir', folder]))


def seconds_per_step(contender, args, work, folder):
    """Run a contender; seconds of a step in the second half of its run."""
    if subprocess.run(command(contender, args, work, folder), stdout=subprocess.DEVNULL,
                      stderr=subprocess.DEVNULL).returncode:
        sys.exit('%s failed: %s' % (contender, ' '.join(command(contender, args, work, folder))))
    log = (folder / 'phase1_log.0').read_text(encoding='utf-8')
    seconds = {int(step): float(latency) / 1000 for step, latency in LINE.findall(log)}
    return seconds[2 * args.steps]


def main():
    args = make_parser().parse_args()
    seconds = {contender: [] for contender in CONTENDERS}
    with tempfile.TemporaryDirectory() as temporary:
        work = pathlib.Path(temporary)
        _, vocab_size = make_examples(args, work)
        (work / 'sizes.json').write_text(json.dumps(dict(MODELS[args.model], max_length=512,
                                                         vocab_size=vocab_size)))
        for number in range(1, args.rounds + 1):
            for contender, values in seconds.items():
                folder = work / ('%s %d' % (contender, number))
                values.append(seconds_per_step(contender, args, work, folder))
            harness.print_round('round %d' % number, {
                contender: values[-1] for contender, values in seconds.items()}, '%.2f s a step')
    one, two = (seconds[contender] for contender in CONTENDERS)
    results = {'seconds_per_step': {name: harness.median_and_range(values)
                                    for name, values in seconds.items()},
               'speed_of_two_workers': harness.ratio_range(one, two)}
    result = harness.make_result(args, **results)
    harness.write_result(args.output, result)
    print('speed of two workers over one process: %s'
          % harness.format_range(results['speed_of_two_workers']))
    print(harness.RANGE_NOTE)
    harness.warn_if_busy(result)


if __name__ == '__main__':
    main()
