"""Pre-training speed of ours and of transformers, side by side in one run, and what is padded.

Tokens per second, without padding, of whole training steps (forward, backward, clip, update) on the
same file of examples: ours in length buckets, with the decoder on the masked positions only;
transformers' BertForPreTraining with AdamW on random batches, padded to their longest example or to
--max_seq_length, or packed: rows of several examples, with the decoder on the masked positions
only. Every model starts from random weights. Also the peak memory of each process. Compare within
one run only, on a machine without other work.
"""
import argparse
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
OURS = 'ours'
PEERS = ('transformers', 'transformers padded to the maximum', 'transformers packed')


def peer_list(text):
    peers = harness.comma_list(text)
    unknown = [peer for peer in peers if peer not in PEERS]
    if unknown:
        raise argparse.ArgumentTypeError('%s: expected some of %s'
                                         % (', '.join(unknown), ', '.join(PEERS)))
    return peers


def make_parser():
    parser = harness.make_parser(__doc__, 'pretraining.json')
    harness.add_corpus_flags(parser)
    parser.add_argument('--max_seq_length', type=int, default=128)
    parser.add_argument('--short_seq_prob', type=float, default=0.1)
    parser.add_argument('--max_predictions_per_seq', type=int, default=20)
    parser.add_argument('--peers', type=peer_list, default=list(PEERS),
                        help='what ours is compared with')
    parser.add_argument('--num_buckets', type=int, default=10, help='of ours')
    parser.add_argument('--models', type=harness.comma_list, default=list(MODELS))
    parser.add_argument('--batch_size', type=int, default=32)
    parser.add_argument('--dtype', choices=('float32', 'bfloat16'), default='float32',
                        help='of both sides; of transformers bfloat16 is autocast')
    parser.add_argument('--optimizer', default='bertadam', help='of ours')
    parser.add_argument('--steps', type=harness.int_list, default=[20, 4], metavar='A,B',
                        help='training steps a round, for each of the models')
    parser.add_argument('--rounds', type=int, default=5)
    return parser


def make_examples(args, work):
    """(path of one file of examples, size of the vocabulary)."""
    harness.run_script('create_pretraining_data.py', '--input_file', args.input_file, '--vocab',
                       args.vocab, '--output_dir', work / 'data', '--dupe_factor', 1,
                       '--num_outputs', 1, '--max_seq_length', args.max_seq_length,
                       '--short_seq_prob', args.short_seq_prob, '--max_predictions_per_seq',
                       args.max_predictions_per_seq)
    size = harness.read_json(work / 'data' / 'manifest.json')['vocabulary']['size']
    return work / 'data' / 'part-000.npz', size


def start_worker(contender, args, sizes, examples):
    """The `Worker` of a contender."""
    flags = ('--sizes', sizes, '--examples', examples, '--batch_size', args.batch_size, '--dtype',
             args.dtype)
    if contender == OURS:
        return harness.Worker('ours', 'benchmarks.pretraining.ours', '--num_buckets',
                              args.num_buckets, '--optimizer', args.optimizer, *flags,
                              threads=args.threads)
    is_packed = 'packed' in contender
    pad_to = args.max_seq_length if 'maximum' in contender or is_packed else 0
    return harness.Worker('peer', 'benchmarks.pretraining.peer', '--pad_to', pad_to,
                          *['--packed'] * is_packed, *flags, threads=args.threads)


def measure(args, name, steps, work, examples, vocab_size):
    """{contender: [answer of each round]}; an answer is that of `TrainingTimer.train`."""
    sizes = work / (name + '.json')
    sizes.write_text(json.dumps(dict(MODELS[name], max_length=512, vocab_size=vocab_size)))
    answers = {contender: [] for contender in (OURS, *args.peers)}
    with contextlib.ExitStack() as stack:
        workers = {contender: stack.enter_context(
            start_worker(contender, args, sizes, examples)) for contender in answers}
        for worker in workers.values():
            worker.ask(steps=2)
        for round_number in range(1, args.rounds + 1):
            for contender, worker in workers.items():
                answers[contender].append(worker.ask(steps=steps))
            harness.print_round('%s round %d' % (name, round_number), {
                contender: rate(values[-1]) for contender, values in answers.items()}, '%.0f')
    return answers


def rate(answer):
    """Tokens per second."""
    return answer['tokens'] / answer['seconds']


def summarize(answers):
    """Median and range of each contender, and of ours over it, round by round; the share of padding
    over all rounds."""
    rates = {contender: list(map(rate, rounds)) for contender, rounds in answers.items()}
    return {contender: {
        'tokens_per_second': harness.median_and_range(rates[contender]), 'rounds': rounds,
        'memory': max(answer['memory'] for answer in rounds),
        'padding': 1 - (sum(answer['tokens'] for answer in rounds)
                        / sum(answer['padded'] for answer in rounds)),
        'ours_over_it': harness.ratio_range(rates[OURS], rates[contender])}
        for contender, rounds in answers.items()}


def print_table(models):
    print('\n%-7s %-36s %22s %20s %8s %8s' % ('model', '', 'tokens a second', 'ours over it',
                                             'padding', 'memory'))
    for name, contenders in models.items():
        for contender, summary in contenders.items():
            print('%-7s %-36s %22s %20s %6.1f %% %5.1f GB' % (
                name, contender, harness.format_range(summary['tokens_per_second'], 0),
                harness.format_range(summary['ours_over_it']), 100 * summary['padding'],
                summary['memory'] / 1e9))
    print(harness.RANGE_NOTE)


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
    result = harness.make_result(args, lengths=lengths, models=models)
    harness.write_result(args.output, result)
    print('%(examples)d examples of %(mean).1f tokens, %(max)d at most' % lengths)
    print_table(models)
    harness.warn_if_busy(result)


if __name__ == '__main__':
    main()
