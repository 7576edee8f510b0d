"""Our losses, scores and answers on SQuAD 1.1 against transformers', from the same weights.

Losses of the first steps of training, without dropout, over the tokens of each window as ours has
them; scores of dev windows, padded in batches, from those weights and from a trained model; and
that model's answers to some dev questions, each side with windows, network and search of its own:
transformers by the recipe of its run_qa example.
Where two answers differ, the rule of ours that makes the difference is found by dropping it. Exit
status 1 when a bound is missed, or a difference has no explanation. All in float32.
"""
import itertools
import os
import sys
import tempfile
from typing import NamedTuple

import numpy as np

from benchmarks import harness
from bert.data.batches import training_batches
from bert.data.squad.spans import best_pairs
from bert.train.schedule import linear_warmup_decay

BOUND = 1e-4        # largest difference of two losses, and of two scores, that passes
SHARE = 0.995       # of the answers must be equal
NEARLY_EQUAL = 1e-3     # so close, the sum of two float32 scores decides by chance
WINDOW_BATCH = 24   # windows a batch of prediction, on both sides

# Rules of our search that run_qa does without.
CONTEXT = 'starts where the context is longest, one window only'
ALL_PAIRS = 'every start and end is tried, not the %d best of each' % harness.N_BEST
MARKS = 'combining marks belong to the character before'
RULES = (CONTEXT, ALL_PAIRS, MARKS)
TIE = 'scores nearly equal'
UNEXPLAINED = 'unexplained'


def make_parser():
    parser = harness.make_parser(__doc__, 'parity_squad.json')
    harness.add_squad_flags(parser)
    parser.add_argument('--model_dir', metavar='FOLDER',
                        help='run or checkpoint of finetune_squad.py, for the answers; default: '
                             'losses and scores of untrained weights only')
    parser.add_argument('--steps', type=int, default=20)
    parser.add_argument('--batch_size', type=int, default=12)
    parser.add_argument('--lr', type=float, default=5e-5, help='peak learning rate')
    parser.add_argument('--windows', type=int, default=200, help='dev windows that are scored')
    parser.add_argument('--questions', type=int, default=2000, help='dev questions with answers')
    parser.add_argument('--seed', type=int, default=1,
                        help='of the head, the batches and the samples of dev')
    return parser


def read_windows(path, model):
    """(`Squad`, `Windows`) of a file."""
    from bert.data.squad.files import read_squad
    from bert.data.squad.windows import make_windows
    squad = read_squad(path)
    return squad, make_windows(squad, model.tokenizer, model.options)


def sample(number, wanted, seed):
    """`wanted` of `number` indices at random, all of them where there are fewer."""
    return np.random.RandomState(seed).permutation(number)[:wanted]


# Losses


def compare_losses(args, model, weights, folder):
    """[(ours, transformers') of each step]; trains the model."""
    from benchmarks.squad import ours
    _, windows = read_windows(harness.squad_file(args, 'train'), model)
    order = training_batches(windows.lengths, args.batch_size, args.seed, epoch=0)[:args.steps]
    batches = [ours.collate_windows(model, windows, indices) for indices in order]
    rates = [linear_warmup_decay(step, len(batches), 0.1, args.lr)
             for step in range(1, len(batches) + 1)]
    given, found = folder + '/train.npz', folder + '/losses.npz'
    ours.save_batches(given, batches, rates=rates)
    stepper = ours.make_stepper(model, args.lr, args.seed)
    mine = [float(stepper.step(number, [batch], rate).loss.asscalar())
            for number, (batch, rate) in enumerate(zip(batches, rates), 1)]
    harness.run('peer', 'benchmarks.squad.peer', 'losses', '--weights', weights, '--batches', given,
                '--output', found, threads=args.threads)
    with np.load(found) as saved:
        return list(zip(mine, saved['losses'].tolist()))


# Scores


def compare_scores(args, model, weights, folder):
    """What is found out about the scores of dev windows: the differences at real tokens."""
    import mxnet as mx

    from benchmarks.squad import ours
    _, windows = read_windows(harness.squad_file(args, 'dev'), model)
    chosen = sample(len(windows), args.windows, args.seed)
    batches = [ours.collate_windows(model, windows, chosen[start:start + WINDOW_BATCH])
               for start in range(0, len(chosen), WINDOW_BATCH)]
    given, found = folder + '/dev.npz', folder + '/scores.npz'
    ours.save_batches(given, batches)
    harness.run('peer', 'benchmarks.squad.peer', 'logits', '--weights', weights, '--batches', given,
                '--output', found, threads=args.threads)
    with np.load(found) as saved:
        pairs = [(at_tokens(batch, model.outputs(batch, mx.cpu()).asnumpy()),
                  at_tokens(batch, saved['logits_%d' % i])) for i, batch in enumerate(batches)]
    mine, theirs = map(np.concatenate, zip(*pairs))
    return {'windows': len(chosen), 'tokens': len(mine),
            'padding': sum(batch.token_ids.size for batch in batches) - len(mine),
            'largest_score': float(np.abs(theirs).max()),
            'largest_difference': float(np.abs(mine - theirs).max())}


def at_tokens(batch, scores):
    """scores (size, length, 2) → (tokens, 2), without padding."""
    return scores[np.arange(scores.shape[1]) < batch.valid_length[:, None]]


# Answers


def compare_answers(args, model, weights, folder):
    """What is found out about the answers to some dev questions."""
    import mxnet as mx

    from benchmarks.squad import ours
    path = choose_questions(args, folder)
    squad, windows = read_windows(path, model)
    answers = model.find_answers(squad, windows, WINDOW_BATCH, mx.cpu())
    mine = {question.id: answer.text() for question, answer in zip(squad.questions, answers)}
    output = folder + '/predictions.json'
    harness.run('peer', 'benchmarks.squad.peer', 'predict', '--weights', weights, '--dev', path,
                '--batch_size', WINDOW_BATCH, '--output', output, threads=args.threads)
    theirs = harness.read_json(output)
    digests = [ours.digest(windows, i) for i in range(len(windows))]
    differences = [describe_difference(model, squad, windows, i, mine[question.id],
                                       theirs['predictions'][question.id])
                   for i, question in enumerate(squad.questions)
                   if mine[question.id] != theirs['predictions'][question.id]]
    return {'questions': len(mine), 'windows': len(windows),
            'same_windows': digests == theirs['windows'],
            'equal_share': 1 - len(differences) / len(mine), 'differences': differences}


def choose_questions(args, folder):
    """Path of a SQuAD file with a sample of dev's questions."""
    content, path = harness.read_json(harness.squad_file(args, 'dev')), folder + '/questions.json'
    ids = [qa['id'] for article in content['data'] for paragraph in article['paragraphs']
           for qa in paragraph['qas']]
    chosen = {ids[i] for i in sample(len(ids), args.questions, args.seed)}
    harness.write_json(path, harness.select_questions(content, chosen))
    return path


class Part(NamedTuple):
    """A window of a question, as our search sees it."""
    scores: np.ndarray          # (length, 2) of all its tokens
    offset: int                 # where its context begins
    may_start: np.ndarray       # (tokens,) bool: the rule CONTEXT
    spans: np.ndarray           # (tokens, 2) characters of the context's tokens: the rule MARKS
    plain_spans: np.ndarray     # (tokens, 2) the same by the tokenizer alone


def describe_difference(model, squad, windows, i, mine, theirs):
    """Both answers to question i, and why they differ."""
    question = squad.questions[i]
    context = squad.contexts[question.context]
    parts = parts_of(model, context, windows, i)
    scores = spans_found(context, parts, set(RULES))
    return {'id': question.id, 'question': question.text, 'ours': mine, 'transformers': theirs,
            'our_score': scores.get(mine), 'score_of_theirs': scores.get(theirs),
            'explanation': explain(context, parts, theirs)}


def parts_of(model, context, windows, i):
    """The `Part`s of question i, scored again."""
    import mxnet as mx

    from benchmarks.squad import ours
    first, number = windows.of_question()[i]
    may_start = windows.max_context()
    (_, plain), = model.tokenizer.encode_with_spans([context])
    indices = range(first, first + number)
    batch = ours.collate_windows(model, windows, indices)
    parts = []
    for j, scores in zip(indices, model.outputs(batch, mx.cpu()).asnumpy()):
        _, begin, size = windows.windows[j]
        parts.append(Part(scores[:windows.lengths[j]], windows.offset(j), may_start[j],
                          windows.spans(j), plain[begin:begin + size]))
    return parts


def explain(context, parts, theirs):
    """Why our answer isn't `theirs`: the fewest rules without which it is, TIE where it takes
    none, or UNEXPLAINED."""
    for number in range(len(RULES) + 1):
        for dropped in itertools.combinations(RULES, number):
            found = spans_found(context, parts, set(RULES) - set(dropped)) or {'': 0.0}
            if theirs in found and max(found.values()) - found[theirs] < NEARLY_EQUAL:
                return '; '.join(dropped) or TIE
    return UNEXPLAINED


def spans_found(context, parts, rules):
    """{text: its best score} of the best spans of each window, searched by these rules."""
    found = {}
    for part in parts:
        size = len(part.spans)
        scores = part.scores[part.offset:part.offset + size].astype('float64')
        may_start = part.may_start if CONTEXT in rules else np.ones(size, dtype=bool)
        if ALL_PAIRS not in rules:
            best = among_best(part.scores)[part.offset:part.offset + size]
            may_start = may_start & best[:, 0]
            scores[~best[:, 1], 1] = -np.inf
        spans = part.spans if MARKS in rules else part.plain_spans
        for first, last in zip(*best_pairs(scores[:, 0], scores[:, 1], may_start, harness.N_BEST,
                                           harness.MAX_ANSWER_LENGTH)):
            text = context[spans[first, 0]:spans[last, 1]]
            found[text] = max(found.get(text, -np.inf), float(scores[first, 0] + scores[last, 1]))
    return found


def among_best(scores):
    """scores (length, 2) → (length, 2) bool: whether it is among the best of its column."""
    ranks = np.argsort(np.argsort(-scores, axis=0, kind='stable'), axis=0)
    return ranks < harness.N_BEST


# The report


def compare(args):
    """{what: what was found out}"""
    from benchmarks.squad import ours
    with tempfile.TemporaryDirectory() as folder:
        fresh, theirs = folder + '/fresh', folder + '/fresh-transformers'
        model = ours.fresh_model(args.seed)
        ours.save_model(model, fresh)
        ours.convert(fresh, theirs)
        result = {'scores_untrained': compare_scores(args, model, theirs, folder),
                  'losses': compare_losses(args, model, theirs, folder)}
        if args.model_dir:
            trained = ours.convert(os.path.abspath(args.model_dir), folder + '/trained')
            model = ours.open_model(args.model_dir)
            result['scores_trained'] = compare_scores(args, model, trained, folder)
            result['answers'] = compare_answers(args, model, trained, folder)
    return result


def failures(found):
    """Yield what misses its bound."""
    if not all(abs(mine - theirs) < BOUND for mine, theirs in found['losses']):     # nan fails
        yield 'losses'
    for name in ('scores_untrained', 'scores_trained'):
        if name in found and not found[name]['largest_difference'] < BOUND:
            yield name
    answers = found.get('answers')
    if answers:
        if not answers['same_windows']:
            yield 'windows'
        if answers['equal_share'] < SHARE:
            yield 'share of equal answers'
        if any(one['explanation'] == UNEXPLAINED for one in answers['differences']):
            yield 'unexplained answers'


def show(found):
    print('\n%4s %12s %13s %11s' % ('step', 'ours', 'transformers', 'difference'))
    for step, (mine, theirs) in enumerate(found['losses'], 1):
        print('%4d %12.7f %13.7f %11.1e' % (step, mine, theirs, abs(mine - theirs)))
    for name in ('scores_untrained', 'scores_trained'):
        if name in found:
            print('%s: largest difference %.1e at %d tokens of %d windows, in batches with %d '
                  'tokens of padding (scores up to %.1f)' % (name, *(found[name][key] for key in (
                      'largest_difference', 'tokens', 'windows', 'padding', 'largest_score'))))
    if 'answers' in found:
        show_answers(found['answers'])


def show_answers(answers):
    print('%d windows, %s on both sides' % (
        answers['windows'], 'the same' if answers['same_windows'] else 'NOT the same'))
    print('%.2f %% of %d answers equal' % (100 * answers['equal_share'], answers['questions']))
    for one in answers['differences']:
        print('%s %s\n  ours: %s\n  transformers: %s\n  %s' % tuple(one[key] for key in (
            'id', 'question', 'ours', 'transformers', 'explanation')))


def main():
    args = make_parser().parse_args()
    harness.use_threads(args.threads)
    found = compare(args)
    result = harness.report(args, bound=BOUND, share=SHARE, **found)
    harness.write_json(args.output, result)
    harness.describe(result)
    show(found)
    wrong = list(failures(found))
    print('NOT within the bounds: ' + ', '.join(wrong) if wrong else 'all within the bounds')
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main())
