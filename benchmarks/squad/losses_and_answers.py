"""Our losses, scores and answers on SQuAD 1.1 against transformers', from the same weights.

It compares the losses of the first steps of training, without dropout, over the tokens of each
window as in ours; the scores of dev windows, in padded batches, from the same weights and from a
trained model; and the trained model's answers to some dev questions. For the answers, each side has
windows, network and search of its own; transformers follows its run_qa example. Where two answers
differ, the script drops rules of our search until it finds the rule that makes the difference. Exit
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
EQUAL_SHARE = 0.995     # of the answers, at least
NEARLY_EQUAL = 1e-3     # within it, rounding to float32 decides which of two scores is higher
WINDOWS_PER_BATCH = 24  # of prediction, on both sides

# Rules of our search that run_qa lacks
LONGEST_CONTEXT = 'starts where the context is longest, one window only'
ALL_PAIRS = 'every start and end is tried, not the %d best of each' % harness.N_BEST
MARKS = 'combining marks belong to the character before'
RULES = (LONGEST_CONTEXT, ALL_PAIRS, MARKS)
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


def draw_indices(length, count, seed):
    """`count` of `length` indices at random, or all of them if there are fewer."""
    return np.random.RandomState(seed).permutation(length)[:count]


# Losses


def compare_losses(args, model, weights, folder):
    """[(ours, transformers') of each step]; trains the model."""
    from benchmarks.squad import ours
    _, windows = read_windows(harness.squad_file(args, 'train'), model)
    order = training_batches(windows.lengths, args.batch_size, args.seed, epoch=0)[:args.steps]
    batches = [ours.collate_windows(model, windows, indices) for indices in order]
    rates = [linear_warmup_decay(step, len(batches), 0.1, args.lr)
             for step in range(1, len(batches) + 1)]
    batches_path, losses_path = folder + '/train.npz', folder + '/losses.npz'
    ours.save_batches(batches_path, batches, rates=rates)
    stepper = ours.make_stepper(model, args.lr, args.seed)
    our_losses = [float(stepper.step(step, [batch], rate).loss.asscalar())
                  for step, (batch, rate) in enumerate(zip(batches, rates), 1)]
    harness.run_worker('peer', 'benchmarks.squad.peer', 'losses', '--weights', weights,
                       '--batches', batches_path, '--output', losses_path, threads=args.threads)
    with np.load(losses_path) as archive:
        return list(zip(our_losses, archive['losses'].tolist()))


# Scores


def compare_scores(args, model, weights, folder):
    """The largest difference of the scores of dev windows, at real tokens, and their numbers."""

    from benchmarks.squad import ours
    _, windows = read_windows(harness.squad_file(args, 'dev'), model)
    indices = draw_indices(len(windows), args.windows, args.seed)
    batches = [ours.collate_windows(model, windows, indices[start:start + WINDOWS_PER_BATCH])
               for start in range(0, len(indices), WINDOWS_PER_BATCH)]
    batches_path, scores_path = folder + '/dev.npz', folder + '/scores.npz'
    ours.save_batches(batches_path, batches)
    harness.run_worker('peer', 'benchmarks.squad.peer', 'logits', '--weights', weights,
                       '--batches', batches_path, '--output', scores_path, threads=args.threads)
    with np.load(scores_path) as archive:
        pairs = [(drop_padding(batch, model.outputs(batch).asnumpy()),
                  drop_padding(batch, archive['logits_%d' % i]))
                 for i, batch in enumerate(batches)]
    our_scores, their_scores = map(np.concatenate, zip(*pairs))
    return {'windows': len(indices), 'tokens': len(our_scores),
            'padding': sum(batch.token_ids.size for batch in batches) - len(our_scores),
            'largest_score': float(np.abs(their_scores).max()),
            'largest_difference': float(np.abs(our_scores - their_scores).max())}


def drop_padding(batch, scores):
    """scores (size, length, 2) → (tokens, 2) of the real tokens."""
    return scores[np.arange(scores.shape[1]) < batch.valid_length[:, None]]


# Answers


def compare_answers(args, model, weights, folder):
    """The share of equal answers to some dev questions, and each difference."""

    from benchmarks.squad import ours
    path = choose_questions(args, folder)
    squad, windows = read_windows(path, model)
    answers = model.find_answers(squad, windows, WINDOWS_PER_BATCH)
    our_texts = {question.id: answer.text() for question, answer in zip(squad.questions, answers)}
    output = folder + '/predictions.json'
    harness.run_worker('peer', 'benchmarks.squad.peer', 'predict', '--weights', weights, '--dev',
                       path, '--batch_size', WINDOWS_PER_BATCH, '--output', output,
                       threads=args.threads)
    theirs = harness.read_json(output)
    their_texts = theirs['predictions']
    digests = [ours.digest(windows, i) for i in range(len(windows))]
    differences = [describe_difference(model, squad, windows, i, our_texts[question.id],
                                       their_texts[question.id])
                   for i, question in enumerate(squad.questions)
                   if our_texts[question.id] != their_texts[question.id]]
    return {'questions': len(our_texts), 'windows': len(windows),
            'same_windows': digests == theirs['windows'],
            'equal_share': 1 - len(differences) / len(our_texts), 'differences': differences}


def choose_questions(args, folder):
    """Write a SQuAD file with a sample of dev's questions; returns its path."""
    content, path = harness.read_json(harness.squad_file(args, 'dev')), folder + '/questions.json'
    ids = [qa['id'] for article in content['data'] for paragraph in article['paragraphs']
           for qa in paragraph['qas']]
    sample = {ids[i] for i in draw_indices(len(ids), args.questions, args.seed)}
    harness.write_json(path, harness.select_questions(content, sample))
    return path


class WindowScores(NamedTuple):
    """The scores of a window, and what our search knows about it."""
    scores: np.ndarray          # (length, 2) of all its tokens
    offset: int                 # index of the first token of its context
    may_start: np.ndarray       # (tokens,) bool, by the rule LONGEST_CONTEXT
    spans: np.ndarray           # (tokens, 2) characters of the context's tokens, by the rule MARKS
    plain_spans: np.ndarray     # (tokens, 2) the same by the tokenizer alone


def describe_difference(model, squad, windows, i, ours, theirs):
    """Both answers to question i, and why they differ."""
    question = squad.questions[i]
    context = squad.contexts[question.context]
    scored_windows = score_windows(model, context, windows, i)
    scores = search_spans(context, scored_windows, set(RULES))
    return {'id': question.id, 'question': question.text, 'ours': ours, 'transformers': theirs,
            'our_score': scores.get(ours), 'score_of_theirs': scores.get(theirs),
            'explanation': explain(context, scored_windows, theirs)}


def score_windows(model, context, windows, i):
    """The `WindowScores` of question i."""

    from benchmarks.squad import ours
    first, num_windows = windows.question_windows()[i]
    may_start = windows.max_context()
    (_, plain_spans), = model.tokenizer.encode_with_spans([context])
    indices = range(first, first + num_windows)
    batch = ours.collate_windows(model, windows, indices)
    scored_windows = []
    for j, scores in zip(indices, model.outputs(batch).asnumpy()):
        _, begin, size = windows.windows[j]
        scored_windows.append(WindowScores(
            scores[:windows.lengths[j]], windows.offset(j), may_start[j], windows.spans(j),
            plain_spans[begin:begin + size]))
    return scored_windows


def explain(context, scored_windows, theirs):
    """Why our answer isn't `theirs`: the smallest set of rules whose removal makes it so, TIE if
    that set is empty, UNEXPLAINED if there is none."""
    for count in range(len(RULES) + 1):
        for removal in itertools.combinations(RULES, count):
            texts = search_spans(context, scored_windows, set(RULES) - set(removal)) or {'': 0.0}
            if theirs in texts and max(texts.values()) - texts[theirs] < NEARLY_EQUAL:
                return '; '.join(removal) or TIE
    return UNEXPLAINED


def search_spans(context, scored_windows, rules):
    """{text: its best score} of the best spans of each window, searched by these rules."""
    texts = {}
    for window in scored_windows:
        size = len(window.spans)
        scores = window.scores[window.offset:window.offset + size].astype('float64')
        may_start = window.may_start if LONGEST_CONTEXT in rules else np.ones(size, dtype=bool)
        if ALL_PAIRS not in rules:
            is_best = is_among_best(window.scores)[window.offset:window.offset + size]
            may_start = may_start & is_best[:, 0]
            scores[~is_best[:, 1], 1] = -np.inf
        spans = window.spans if MARKS in rules else window.plain_spans
        for first, last in zip(*best_pairs(scores[:, 0], scores[:, 1], may_start, harness.N_BEST,
                                           harness.MAX_ANSWER_LENGTH)):
            text = context[spans[first, 0]:spans[last, 1]]
            texts[text] = max(texts.get(text, -np.inf), float(scores[first, 0] + scores[last, 1]))
    return texts


def is_among_best(scores):
    """scores (length, 2) → (length, 2) bool: whether a score is one of the N_BEST of its column."""
    ranks = np.argsort(np.argsort(-scores, axis=0, kind='stable'), axis=0)
    return ranks < harness.N_BEST


# The report


def compare(args):
    """{'scores_untrained', 'losses', and with --model_dir 'scores_trained', 'answers'}"""
    from benchmarks.squad import ours
    with tempfile.TemporaryDirectory() as folder:
        model = ours.make_untrained_model(args.seed)
        ours.save_model(model, folder + '/fresh')
        weights = ours.convert(folder + '/fresh', folder + '/fresh-transformers')
        comparison = {'scores_untrained': compare_scores(args, model, weights, folder),
                      'losses': compare_losses(args, model, weights, folder)}
        if args.model_dir:
            weights = ours.convert(os.path.abspath(args.model_dir), folder + '/trained')
            model = ours.open_model(args.model_dir)
            comparison['scores_trained'] = compare_scores(args, model, weights, folder)
            comparison['answers'] = compare_answers(args, model, weights, folder)
    return comparison


def missed_bounds(comparison):
    """Yield the names of the bounds that are missed."""
    if not all(abs(ours - theirs) < BOUND for ours, theirs in comparison['losses']):    # nan fails
        yield 'losses'
    for name in ('scores_untrained', 'scores_trained'):
        if name in comparison and not comparison[name]['largest_difference'] < BOUND:
            yield name
    answers = comparison.get('answers')
    if answers:
        if not answers['same_windows']:
            yield 'windows'
        if answers['equal_share'] < EQUAL_SHARE:
            yield 'share of equal answers'
        if any(difference['explanation'] == UNEXPLAINED for difference in answers['differences']):
            yield 'unexplained answers'


def print_results(comparison):
    print()
    harness.print_losses(comparison['losses'])
    for name in ('scores_untrained', 'scores_trained'):
        if name in comparison:
            scores = comparison[name]
            print('%s: largest difference %.1e at %d tokens of %d windows, in batches with %d '
                  'tokens of padding (scores up to %.1f)' % (
                      name, scores['largest_difference'], scores['tokens'], scores['windows'],
                      scores['padding'], scores['largest_score']))
    if 'answers' in comparison:
        print_answers(comparison['answers'])


def print_answers(answers):
    print('%d windows, %s on both sides' % (
        answers['windows'], 'the same' if answers['same_windows'] else 'NOT the same'))
    print('%.2f %% of %d answers equal' % (100 * answers['equal_share'], answers['questions']))
    for difference in answers['differences']:
        print('%s %s\n  ours: %s\n  transformers: %s\n  %s' % tuple(difference[key] for key in (
            'id', 'question', 'ours', 'transformers', 'explanation')))


def main():
    args = make_parser().parse_args()
    harness.use_threads(args.threads)
    comparison = compare(args)
    result = harness.make_result(args, bound=BOUND, share=EQUAL_SHARE, **comparison)
    harness.write_result(args.output, result)
    print_results(comparison)
    misses = list(missed_bounds(comparison))
    print('NOT within the bounds: ' + ', '.join(misses) if misses else 'all within the bounds')
    return 1 if misses else 0


if __name__ == '__main__':
    sys.exit(main())
