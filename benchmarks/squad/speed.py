"""Speed and memory of predicting SQuAD 1.1, ours and transformers' side by side in one run.

From the file to the answers: each round draws paragraphs of dev at random, and all contenders
answer their questions one after the other, with the same weights, in the same windows: ours in
bfloat16, int8 and float32, transformers in bfloat16 and float32. Ours batches windows by length;
transformers takes them in the order of the file, padded to the longest of each batch or, the
default of its run_qa example, all to max_seq_length. Opening the model is not counted.

Then reading dev and cutting it into windows, each time in a process of its own: seconds and peak
memory. Here transformers follows run_qa, whose windows overlap differently: 1000 questions per call
of the tokenizer, padded or not, kept as Python lists. Exit status 1 when ours takes 1 GB or more,
or half of transformers' time or more.

Compare within one run only, on a machine without other work.
"""
import contextlib
import os
import sys
import tempfile

import numpy as np

from benchmarks import harness

OURS = 'ours'
REFERENCE = 'ours bfloat16'     # the contender whose speed is compared with all others
# {contender: (side, dtype, what the question to its worker has beside the file)}
ANSWERING = {
    REFERENCE: ('ours', 'bfloat16', {}),
    'ours int8': ('ours', 'int8', {}),
    'ours float32': ('ours', 'float32', {}),
    'transformers bfloat16': ('peer', 'bfloat16', {'padded': False}),
    'transformers float32': ('peer', 'float32', {'padded': False}),
    'transformers bfloat16, all to %d' % harness.MAX_SEQ_LENGTH: ('peer', 'bfloat16',
                                                                  {'padded': True})}
# {contender: (environment, module, flags)}
CUTTING = {OURS: ('ours', 'benchmarks.squad.ours', []),
           'transformers, not padded': ('peer', 'benchmarks.squad.peer', []),
           'transformers, padded': ('peer', 'benchmarks.squad.peer', ['--padded'])}
WARMUP = 40     # questions
MEMORY_BOUND, TIME_BOUND = 1e9, 0.5     # bytes of ours; seconds of ours over the fastest of theirs


def make_parser():
    parser = harness.make_parser(__doc__, 'squad.json')
    harness.add_squad_flags(parser)
    parser.add_argument('--model_dir', metavar='FOLDER',
                        help='run or checkpoint of finetune_squad.py; default: an untrained head')
    parser.add_argument('--questions', type=int, default=1000, help='answered a round')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--batch_size', type=int, default=24,
                        help='windows a batch of ours; the default is finetune_squad.py\'s')
    parser.add_argument('--peer_batch_size', type=int, default=8,
                        help='of transformers; the default is its Trainer\'s')
    parser.add_argument('--seed', type=int, default=1, help='of the questions of each round')
    return parser


# From the file to the answers


def draw_questions(content, count, seed, round_number):
    """The ids of `count` questions: all of paragraphs drawn at random, the last one's in part."""
    paragraphs = [[qa['id'] for qa in paragraph['qas']]
                  for article in content['data'] for paragraph in article['paragraphs']]
    order = np.random.RandomState([seed, round_number]).permutation(len(paragraphs))
    return [name for i in order for name in paragraphs[i]][:count]


def prepare_models(args, folder):
    """(folder of our model, folder of the same model for transformers)"""
    from benchmarks.squad import ours  # imports mxnet, which reads the threads
    model_dir = args.model_dir and os.path.abspath(args.model_dir)
    if not model_dir:
        model_dir = folder + '/model'
        ours.save_model(ours.make_untrained_model(args.seed), model_dir)
    return model_dir, ours.convert(model_dir, folder + '/transformers')


def start_workers(stack, args, folder):
    """{(side, dtype): its `Worker`}"""
    model, weights = prepare_models(args, folder)
    commands = {'ours': ('benchmarks.squad.ours', 'speed', '--model', model, '--batch_size',
                         args.batch_size),
                'peer': ('benchmarks.squad.peer', 'speed', '--weights', weights, '--batch_size',
                         args.peer_batch_size)}
    return {(side, dtype): stack.enter_context(harness.Worker(
                side, *commands[side], '--dtype', dtype, threads=args.threads))
            for side, dtype in dict.fromkeys((side, dtype) for side, dtype, _ in
                                             ANSWERING.values())}


def time_answers(args, content, folder):
    """{contender: [answer of its worker in each round]} without warm-up."""
    with contextlib.ExitStack() as stack:
        workers = start_workers(stack, args, folder)
        rounds = {contender: [] for contender in ANSWERING}
        for round_number in range(args.rounds + 1):
            path = os.path.join(folder, 'round-%d.json' % round_number)
            count = args.questions if round_number else WARMUP
            harness.write_json(path, harness.select_questions(
                content, set(draw_questions(content, count, args.seed, round_number))))
            for contender, (side, dtype, options) in ANSWERING.items():
                rounds[contender].append(workers[side, dtype].ask(squad=path, **options))
            if round_number:
                print_round('answers, round %d' % round_number, rounds)
    return {contender: answers[1:] for contender, answers in rounds.items()}


def summarize_answers(rounds):
    """The speed of each contender, the reference over it, and its answers equal to float32's."""
    seconds = {contender: [answer['seconds'] for answer in answers]
               for contender, answers in rounds.items()}
    return {contender: {
        'questions_per_second': harness.median_and_range(
            [len(answer['answers']) / answer['seconds'] for answer in answers]),
        'ours_over_it': harness.ratio_range(seconds[contender], seconds[REFERENCE]),
        'same_answers': [
            sum(exact['answers'][name] == text for name, text in answer['answers'].items())
            for exact, answer in zip(rounds['ours float32'], answers)],
        'rounds': [{key: answer[key] for key in ('seconds', 'windows', 'parts')}
                   for answer in answers]}
        for contender, answers in rounds.items()}


# Reading and cutting into windows


def time_windows(args, path, folder):
    """{contender: [{'seconds', 'bytes', 'bytes_before', 'windows'} of each round]}"""
    from benchmarks.classifier import ours as ours_classifier
    weights, output = ours_classifier.weights_folder(), folder + '/features.json'
    rounds = {contender: [] for contender in CUTTING}
    for round_number in range(1, args.rounds + 1):
        for contender, (environment, module, flags) in CUTTING.items():
            weights_flags = ['--weights', weights] if environment == 'peer' else []
            harness.run_worker(environment, module, 'features', '--dev', path, '--output', output,
                               *weights_flags, *flags, threads=args.threads)
            rounds[contender].append(harness.read_json(output))
        print_round('windows, round %d' % round_number, rounds)
    return rounds


def summarize_windows(rounds):
    """The seconds of each contender, ours over them, and its peak memory."""
    seconds = {contender: [cost['seconds'] for cost in costs]
               for contender, costs in rounds.items()}
    return {contender: {'seconds': harness.median_and_range(seconds[contender]),
                        'time_of_ours': harness.ratio_range(seconds[OURS], seconds[contender]),
                        'bytes': max(cost['bytes'] for cost in costs), 'rounds': costs}
            for contender, costs in rounds.items()}


def missed_bounds(windows):
    """Yield the bounds of reading and cutting that ours misses."""
    if windows[OURS]['bytes'] >= MEMORY_BOUND:
        yield 'memory'
    if max(summary['time_of_ours']['median'] for contender, summary in windows.items()
           if contender != OURS) >= TIME_BOUND:
        yield 'time'


# The report


def print_round(title, rounds):
    harness.print_round(title, {contender: values[-1]['seconds']
                                for contender, values in rounds.items()}, '%.1f s', '; ')


def print_tables(answers, windows):
    print('\n%-34s %24s %21s %13s' % ('answering', 'questions a second', REFERENCE + ' over it',
                                      'as float32\'s'))
    for contender, summary in answers.items():
        print('%-34s %24s %21s %13s' % (
            contender, harness.format_range(summary['questions_per_second'], 1),
            harness.format_range(summary['ours_over_it']),
            ', '.join(map(str, summary['same_answers']))))
    print('\n%-34s %24s %21s %13s' % ('reading, cutting windows', 'seconds', 'time of ours / its',
                                      'MB at most'))
    for contender, summary in windows.items():
        print('%-34s %24s %21s %13.0f' % (contender, harness.format_range(summary['seconds']),
                                          harness.format_range(summary['time_of_ours']),
                                          summary['bytes'] / 1e6))
    print(harness.RANGE_NOTE)


def main():
    args = make_parser().parse_args()
    harness.use_threads(args.threads)
    path = harness.squad_file(args, 'dev')
    with tempfile.TemporaryDirectory() as folder:
        answers = summarize_answers(time_answers(args, harness.read_json(path), folder))
        windows = summarize_windows(time_windows(args, path, folder))
    result = harness.make_result(args, answering=answers, windows=windows)
    harness.write_result(args.output, result)
    print_tables(answers, windows)
    harness.warn_if_busy(result)
    misses = list(missed_bounds(windows))
    print('ours is NOT within the bounds: ' + ', '.join(misses) if misses else
          'ours takes less than 1 GB and half the time for its windows')
    return 1 if misses else 0


if __name__ == '__main__':
    sys.exit(main())
