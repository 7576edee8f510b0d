"""Speed and memory of predicting SQuAD 1.1, ours and transformers' side by side in one run.

From the file to the answers: each round draws paragraphs of dev at random, and all contenders
answer those same questions one after the other, with the same weights, in the same windows: ours in
bfloat16, int8 and float32, transformers in bfloat16 and float32. Ours batches windows by length;
transformers takes them in the order of the file, padded to the longest of each batch or, the
default of its run_qa example, all to max_seq_length. Opening the model is not counted. Then
reading dev and cutting it into windows, each time in a process of its own: seconds, and the most
memory that the process had. There transformers follows run_qa, whose windows overlap differently:
1000 questions a call of the tokenizer, padded or not, kept as Python lists. Exit status 1 when ours
takes 1 GB or more, or half of transformers' time or more, for that. Compare within one run only;
where other work runs, not even that is fair.
"""
import contextlib
import os
import sys
import tempfile

import numpy as np

from benchmarks import harness

OURS = 'ours'
BASE = 'ours bfloat16'      # whose speed is compared with all others
# {contender: (side, dtype, what its worker is asked beside the file)}
ANSWERING = {
    BASE: ('ours', 'bfloat16', {}),
    'ours int8': ('ours', 'int8', {}),
    'ours float32': ('ours', 'float32', {}),
    'transformers bfloat16': ('peer', 'bfloat16', {'padded': False}),
    'transformers float32': ('peer', 'float32', {'padded': False}),
    'transformers bfloat16, all to %d' % harness.MAX_SEQ_LENGTH: ('peer', 'bfloat16',
                                                                  {'padded': True})}
# {contender: (environment, script, more arguments)}
CUTTING = {OURS: ('ours', 'benchmarks.squad.ours', []),
           'transformers, not padded': ('peer', 'benchmarks.squad.peer', []),
           'transformers, padded': ('peer', 'benchmarks.squad.peer', ['--padded'])}
WARMUP = 40         # questions
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


def draw(content, wanted, seed, round_number):
    """The ids of `wanted` questions on paragraphs drawn at random, all on one but the last."""
    paragraphs = [[qa['id'] for qa in paragraph['qas']]
                  for article in content['data'] for paragraph in article['paragraphs']]
    order = np.random.RandomState([seed, round_number]).permutation(len(paragraphs))
    return [name for i in order for name in paragraphs[i]][:wanted]


def prepare(args, folder):
    """(folder of the model of ours, the same model for transformers)"""
    from benchmarks.squad import ours  # imports mxnet, which reads the threads
    mine = args.model_dir and os.path.abspath(args.model_dir)
    if not mine:
        mine = folder + '/model'
        ours.save_model(ours.fresh_model(args.seed), mine)
    return mine, ours.convert(mine, folder + '/transformers')


def start(stack, args, folder):
    """{(side, dtype): its `Worker`}"""
    model, weights = prepare(args, folder)
    given = {'ours': ('benchmarks.squad.ours', 'speed', '--model', model, '--batch_size',
                      args.batch_size),
             'peer': ('benchmarks.squad.peer', 'speed', '--weights', weights, '--batch_size',
                      args.peer_batch_size)}
    return {(side, dtype): stack.enter_context(harness.Worker(
                side, *given[side], '--dtype', dtype, threads=args.threads))
            for side, dtype in dict.fromkeys(found[:2] for found in ANSWERING.values())}


def time_answers(args, content, folder):
    """{contender: [answer of its worker in each round]}"""
    with contextlib.ExitStack() as stack:
        workers = start(stack, args, folder)
        rounds = {contender: [] for contender in ANSWERING}
        for number in range(args.rounds + 1):
            path = os.path.join(folder, 'round-%d.json' % number)
            wanted = args.questions if number else WARMUP
            harness.write_json(path, harness.select_questions(
                content, set(draw(content, wanted, args.seed, number))))
            for contender, (side, dtype, more) in ANSWERING.items():
                rounds[contender].append(workers[side, dtype].ask(squad=path, **more))
            if number:
                print_round('answers, round %d' % number, rounds)
    return {contender: found[1:] for contender, found in rounds.items()}    # without warm-up


def summarize_answers(rounds):
    """What came out for each contender; ratios are taken round by round."""
    mine, exact = rounds[BASE], rounds['ours float32']
    return {contender: {
        'questions_per_second': harness.median_and_range([len(one['answers']) / one['seconds']
                                                  for one in found]),
        'ours_over_it': harness.median_and_range([b['seconds'] / a['seconds']
                                          for a, b in zip(mine, found)]),
        'same_answers': [sum(a['answers'][name] == text for name, text in b['answers'].items())
                         for a, b in zip(exact, found)],
        'rounds': [{key: one[key] for key in ('seconds', 'windows', 'parts')} for one in found]}
        for contender, found in rounds.items()}


# Windows alone


def time_windows(args, path, folder):
    """{contender: [{'seconds', 'bytes', 'bytes_before', 'windows'} of each round]}"""
    from benchmarks.classifier import ours as ours_classifier
    weights, output = ours_classifier.weights_folder(), folder + '/features.json'
    rounds = {contender: [] for contender in CUTTING}
    for number in range(1, args.rounds + 1):
        for contender, (environment, script, more) in CUTTING.items():
            given = ['--weights', weights] if environment == 'peer' else []
            harness.run(environment, script, 'features', '--dev', path, '--output', output, *given,
                        *more, threads=args.threads)
            rounds[contender].append(harness.read_json(output))
        print_round('windows, round %d' % number, rounds)
    return rounds


def summarize_windows(rounds):
    mine = rounds[OURS]
    return {contender: {'seconds': harness.median_and_range([one['seconds'] for one in found]),
                        'time_of_ours': harness.median_and_range([a['seconds'] / b['seconds']
                                                          for a, b in zip(mine, found)]),
                        'bytes': max(one['bytes'] for one in found), 'rounds': found}
            for contender, found in rounds.items()}


def failures(windows):
    """Yield which bound of reading and cutting ours misses."""
    if windows[OURS]['bytes'] >= MEMORY_BOUND:
        yield 'memory'
    if max(found['time_of_ours']['median'] for contender, found in windows.items()
           if contender != OURS) >= TIME_BOUND:
        yield 'time'


# The report


def print_round(title, rounds):
    print('%s: %s' % (title, '; '.join('%s %.1f s' % (contender, found[-1]['seconds'])
                                       for contender, found in rounds.items())), flush=True)


def with_range(value, digits):
    return '%.*f (%.*f–%.*f)' % (digits, value['median'], digits, value['min'], digits,
                                 value['max'])


def show(answers, windows):
    print('\n%-34s %24s %21s %13s' % ('answering', 'questions a second', BASE + ' over it',
                                      'as float32\'s'))
    for contender, found in answers.items():
        print('%-34s %24s %21s %13s' % (
            contender, with_range(found['questions_per_second'], 1),
            with_range(found['ours_over_it'], 2), ', '.join(map(str, found['same_answers']))))
    print('\n%-34s %24s %21s %13s' % ('reading, cutting windows', 'seconds', 'time of ours / its',
                                      'MB at most'))
    for contender, found in windows.items():
        print('%-34s %24s %21s %13.0f' % (contender, with_range(found['seconds'], 2),
                                          with_range(found['time_of_ours'], 2),
                                          found['bytes'] / 1e6))
    print('median (lowest–highest) over the rounds; ratios are taken round by round')


def main():
    args = make_parser().parse_args()
    harness.use_threads(args.threads)
    path = harness.squad_file(args, 'dev')
    with tempfile.TemporaryDirectory() as folder:
        answers = summarize_answers(time_answers(args, harness.read_json(path), folder))
        windows = summarize_windows(time_windows(args, path, folder))
    result = harness.report(args, answering=answers, windows=windows)
    harness.write_json(args.output, result)
    harness.describe(result)
    show(answers, windows)
    harness.warn_if_busy(result)
    wrong = list(failures(windows))
    print('ours is NOT within the bounds: ' + ', '.join(wrong) if wrong else
          'ours takes less than 1 GB and half the time for its windows')
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main())
