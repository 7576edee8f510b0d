"""Pre-training speed of ours and of transformers, side by side in one run, and what is padded.

Tokens a second, padding not counted, of whole training steps in float32 (forward, backward, clip,
update) on the same file of examples: ours in length buckets, with the decoder on the masked
positions only; transformers' BertForPreTraining on random batches, padded to their longest example
or to --max_seq_length. Every model starts from random weights of its sizes. Compare within one run
only; where other work runs, not even that is fair.
"""
import contextlib
import json
import pathlib
import tempfile

import numpy as np

from benchmarks import harness

# As released: MiniLM (6 layers of width 384) and BERT-base
MODELS = {
    'MiniLM': {'num_layers': 6, 'units': 384, 'hidden_size': 1536, 'num_heads': 12},
    'base': {'num_layers': 12, 'units': 768, 'hidden_size': 3072, 'num_heads': 12}}
CONTENDERS = ('ours', 'transformers', 'transformers, padded to the maximum')


def make_parser():
    parser = harness.make_parser(__doc__, 'pretraining.json')
    harness.add_corpus_flags(parser)
    parser.add_argument('--max_seq_length', type=int, default=128)
    parser.add_argument('--short_seq_prob', type=float, default=0.1)
    parser.add_argument('--num_buckets', type=int, default=10, help='of ours')
    parser.add_argument('--models', type=harness.comma_list, default=list(MODELS))
    parser.add_argument('--batch_size', type=int, default=32)
    parser.add_argument('--steps', type=harness.seed_list, default=[20, 4], metavar='A,B',
                        help='training steps a round, for each of the models')
    parser.add_argument('--rounds', type=int, default=5)
    return parser


def make_examples(args, work):
    """(path of one file of examples, size of the vocabulary)."""
    harness.run_script('create_pretraining_data.py', '--input_file', args.input_file, '--vocab',
                       args.vocab, '--output_dir', work / 'data', '--dupe_factor', 1,
                       '--num_outputs', 1, '--max_seq_length', args.max_seq_length,
                       '--short_seq_prob', args.short_seq_prob)
    size = harness.read_json(work / 'data' / 'manifest.json')['vocabulary']['size']
    return work / 'data' / 'part-000.npz', size


def start(contender, args, sizes, examples):
    """The waiting `Worker` of a contender."""
    common = ('--sizes', sizes, '--examples', examples, '--batch_size', args.batch_size)
    if contender == 'ours':
        return harness.Worker('ours', 'benchmarks.pretraining.ours', '--num_buckets',
                              args.num_buckets, *common, threads=args.threads)
    pad_to = args.max_seq_length if 'maximum' in contender else 0
    return harness.Worker('peer', 'benchmarks.pretraining.peer', '--pad_to', pad_to, *common,
                          threads=args.threads)


def measure(args, name, steps, work, examples, vocab_size):
    """{contender: [answer of each round]}; an answer has seconds, tokens and padded."""
    sizes = work / (name + '.json')
    sizes.write_text(json.dumps(dict(MODELS[name], max_length=512, vocab_size=vocab_size)))
    answers = {contender: [] for contender in CONTENDERS}
    with contextlib.ExitStack() as stack:
        workers = {contender: stack.enter_context(start(contender, args, sizes, examples))
                   for contender in CONTENDERS}
        for worker in workers.values():
            worker.ask(steps=2)
        for number in range(1, args.rounds + 1):
            for contender, worker in workers.items():
                answers[contender].append(worker.ask(steps=steps))
            print('%s round %d: %s' % (name, number, ', '.join(
                '%s %.0f' % (contender, rate(found[-1])) for contender, found in answers.items())),
                flush=True)
    return answers


def rate(answer):
    return answer['tokens'] / answer['seconds']


def summarize(answers):
    """Median and range of each contender; ours over each of theirs, round by round; the share of
    padding over all rounds."""
    mine = list(map(rate, answers[CONTENDERS[0]]))
    return {contender: {
        'tokens_per_second': harness.median_and_range(list(map(rate, found))), 'rounds': found,
        'padding': 1 - sum(one['tokens'] for one in found) / sum(one['padded'] for one in found),
        'ours_over_it': harness.median_and_range([a / rate(b) for a, b in zip(mine, found)])}
        for contender, found in answers.items()}


def print_table(models):
    print('\n%-7s %-36s %22s %20s %8s' % ('model', '', 'tokens a second', 'ours over it',
                                         'padding'))
    for name, contenders in models.items():
        for contender, found in contenders.items():
            cells = ['%.*f (%.*f–%.*f)' % (digits, value['median'], digits, value['min'], digits,
                                         value['max'])
                     for digits, value in ((0, found['tokens_per_second']),
                                           (2, found['ours_over_it']))]
            print('%-7s %-36s %22s %20s %6.1f %%' % (name, contender, cells[0], cells[1],
                                                    100 * found['padding']))
    print('median (lowest–highest) over the rounds; ratios are taken round by round')


def describe_lengths(path):
    """{'examples', 'mean', 'max'} of the tokens of the examples."""
    with np.load(path) as archive:
        lengths = np.diff(archive['token_offsets'])
    return {'examples': len(lengths), 'mean': float(lengths.mean()), 'max': int(lengths.max())}


def main():
    args = make_parser().parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = pathlib.Path(temporary)
        examples, vocab_size = make_examples(args, work)
        lengths = describe_lengths(examples)
        models = {name: summarize(measure(args, name, steps, work, examples, vocab_size))
                  for name, steps in zip(args.models, args.steps)}
    result = harness.report(args, lengths=lengths, models=models)
    harness.write_json(args.output, result)
    harness.describe(result)
    print('%(examples)d examples of %(mean).1f tokens, %(max)d at most' % lengths)
    print_table(models)
    harness.warn_if_busy(result)


if __name__ == '__main__':
    main()
