"""The peer's side of the question-answering comparisons: transformers on PyTorch.

Runs in the peer's own environment (harness.py) and knows nothing of `bert`. It reads the SQuAD
files itself, cuts windows with the tokenizer of transformers, and finds answers as the run_qa
example of transformers does (20 best starts with 20 best ends, no rule about context).
"""
import argparse
import contextlib
import hashlib
import itertools
import json
import os
import time
from typing import NamedTuple

import numpy as np
import torch
from transformers import (
    AutoModelForQuestionAnswering,
    AutoTokenizer,
    get_linear_schedule_with_warmup,
)

from benchmarks import harness
from benchmarks.classifier.peer import BertAdam, adamw, inputs, parameter_groups, train_step

QUESTIONS_PER_CALL = 1000   # of the tokenizer, the default of datasets' map
LOG_STEPS = 50
MEGABATCH = 50              # --group_by_length sorts within 50 batches, like the Trainer


class Question(NamedTuple):
    """One question, and the answer to train on."""
    id: str
    text: str
    context: str
    answer: tuple[str, int] | None   # text, first character


class Window(NamedTuple):
    """A question and a part of its context as tokens."""
    question: int           # its index
    token_ids: list[int]
    segment_ids: list[int]
    mask: list[int]
    spans: list             # (start, end) characters of each token; None outside the context


# Questions and windows


def read_questions(path):
    """The `Question`s of a SQuAD file, in its order."""
    with open(path, encoding='utf-8') as file:
        articles = json.load(file)['data']
    return [Question(qa['id'], qa['question'], paragraph['context'], first_answer(qa))
            for article in articles for paragraph in article['paragraphs']
            for qa in paragraph['qas']]


def first_answer(qa):
    """(text, first character); None for a question without answers."""
    if not qa.get('answers'):
        return None
    return qa['answers'][0]['text'], qa['answers'][0]['answer_start']


def cut_windows(tokenizer, questions, padded=False, same_step=False):
    """The `Window`s of `Question`s, in their order.

    padded: fill up every window to MAX_SEQ_LENGTH. same_step: start windows as far apart as ours
    (the tokenizer's stride is the overlap of two windows, which then depends on the question's
    length); otherwise two windows share doc_stride tokens, as in run_qa.
    """
    windows = []
    for overlap, indices in group_by_overlap(tokenizer, questions, same_step).items():
        for start in range(0, len(indices), QUESTIONS_PER_CALL):
            windows += cut_chunk(tokenizer, questions, indices[start:start + QUESTIONS_PER_CALL],
                                 overlap, padded)
    return sorted(windows, key=lambda window: window.question) if same_step else windows


def group_by_overlap(tokenizer, questions, same_step):
    """{tokens that two windows share: indices of the questions}"""
    if not same_step:
        return {harness.DOC_STRIDE: range(len(questions))}
    texts = [question.text.lstrip() for question in questions]
    groups = {}
    for i, ids in enumerate(tokenizer(texts, add_special_tokens=False)['input_ids']):
        room = harness.MAX_SEQ_LENGTH - len(ids) - 3
        groups.setdefault(room - harness.DOC_STRIDE, []).append(i)
    return groups


def cut_chunk(tokenizer, questions, indices, overlap, padded):
    """The `Window`s of the questions with these indices, by one call of the tokenizer."""
    encoded = tokenizer([questions[i].text.lstrip() for i in indices],
                        [questions[i].context for i in indices],
                        truncation='only_second', max_length=harness.MAX_SEQ_LENGTH,
                        stride=overlap, padding='max_length' if padded else False,
                        return_overflowing_tokens=True, return_offsets_mapping=True)
    rows = zip(encoded['overflow_to_sample_mapping'], encoded['input_ids'],
               encoded['token_type_ids'], encoded['attention_mask'], encoded['offset_mapping'])
    return [Window(indices[sample], token_ids, segment_ids, mask,
                   [span if sequence == 1 else None
                    for span, sequence in zip(spans, encoded.sequence_ids(row))])
            for row, (sample, token_ids, segment_ids, mask, spans) in enumerate(rows)]


def label_window(window, answer):
    """(first, last) token of the answer; (0, 0), that is [CLS], if the window lacks the answer."""
    text, first = answer
    positions = [i for i, span in enumerate(window.spans) if span is not None]
    starts, ends = np.array([window.spans[i] for i in positions]).T
    if starts[0] > first or ends[-1] < first + len(text):
        return 0, 0
    return (positions[np.searchsorted(starts, first, side='right') - 1],
            positions[np.searchsorted(ends, first + len(text))])


def collate_windows(windows):
    """The model's arguments, padded to the longest of the windows; padding is 0."""
    length = max(len(window.token_ids) for window in windows)
    names = {'input_ids': 'token_ids', 'token_type_ids': 'segment_ids', 'attention_mask': 'mask'}
    return {argument: torch.tensor([getattr(window, name) +
                                    [0] * (length - len(window.token_ids)) for window in windows])
            for argument, name in names.items()}


# Training


def make_model(folder, dropout):
    return AutoModelForQuestionAnswering.from_pretrained(
        folder, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout)


def training_order(lengths, batch_size, rng, by_length):
    """A random order of the training windows; by_length: with similar lengths side by side."""
    order = rng.permutation(len(lengths))
    if not by_length:
        return order
    size = MEGABATCH * batch_size
    return np.concatenate([indices[np.argsort(-lengths[indices], kind='stable')]
                           for indices in np.split(order, range(size, len(order), size))])


def train(model, windows, labels, args):
    """Fine-tune by the recipe of the Trainer; returns [(step, mean loss since the last entry)]."""
    rng = np.random.RandomState(args.seed)
    lengths = np.array([len(window.token_ids) for window in windows])
    num_steps = -(-len(windows) // args.batch_size) * args.epochs
    optimizer = adamw(model, args.lr)
    schedule = get_linear_schedule_with_warmup(optimizer, int(0.1 * num_steps), num_steps)
    model.train()
    curve, losses, started = [], [], time.time()
    for _ in range(args.epochs):
        order = training_order(lengths, args.batch_size, rng, args.group_by_length)
        for start in range(0, len(order), args.batch_size):
            indices = order[start:start + args.batch_size]
            batch = collate_windows([windows[i] for i in indices])
            starts, ends = torch.from_numpy(labels[indices]).T
            losses.append(train_step(model, dict(batch, start_positions=starts,
                                                 end_positions=ends), optimizer, args.dtype))
            schedule.step()
            step = schedule.last_epoch
            if step % LOG_STEPS == 0 or step == num_steps:
                curve.append((step, torch.stack(losses).mean().item()))
                losses = []
                print('seed %d step %d of %d: loss %.4f, %.0f s'
                      % (args.seed, step, num_steps, curve[-1][1], time.time() - started),
                      flush=True)
    return curve


# Answers


@torch.no_grad()
def score_windows(model, windows, batch_size, by_length=False):
    """Scores (2, tokens) of each window, of start and of end.

    by_length: longest first, with little padding; otherwise in the order of the file.
    """
    model.eval()
    order = list(range(len(windows)))
    if by_length:
        order.sort(key=lambda i: -len(windows[i].token_ids))
    scores_of = [None] * len(windows)
    for start in range(0, len(order), batch_size):
        indices = order[start:start + batch_size]
        outputs = model(**collate_windows([windows[i] for i in indices]))
        batch = torch.stack([outputs.start_logits, outputs.end_logits], dim=1).float().numpy()
        for i, scores in zip(indices, batch):
            scores_of[i] = scores[:, :len(windows[i].token_ids)]
    return scores_of


def find_answers(questions, windows, scores_of):
    """{question id: text} as in run_qa. scores_of: of each window, by `score_windows`."""
    spans_of = [[] for _ in questions]
    for window, scores in zip(windows, scores_of):
        spans_of[window.question] += find_spans(window, *scores)
    return {question.id: best_text(question.context, spans)
            for question, spans in zip(questions, spans_of)}


def find_spans(window, start_scores, end_scores):
    """[(score, start, end)] in characters, of the best starts with the best ends, as far as they
    make a span of the context."""
    starts, ends = (np.argsort(scores)[:-harness.N_BEST - 1:-1].tolist()
                    for scores in (start_scores, end_scores))
    spans = []
    for first, last in itertools.product(starts, ends):
        begin, end = window.spans[first], window.spans[last]
        if begin and end and first <= last < first + harness.MAX_ANSWER_LENGTH:
            spans.append((start_scores[first] + end_scores[last], begin[0], end[1]))
    return spans


def best_text(context, spans):
    """The text of the best span, '' without spans."""
    # run_qa also cuts out and weighs the n best
    n_best = sorted(spans, key=lambda span: span[0], reverse=True)[:harness.N_BEST]
    texts = [context[begin:end] for _, begin, end in n_best]
    return texts[0] if texts else ''


# Batches of our pipeline


class Batches:
    """The file of `save_batches` of ours.py: padded arrays, and others under their own names."""

    def __init__(self, path):
        with np.load(path) as archive:
            self.arrays = dict(archive)

    def __len__(self):
        return sum(name.startswith('token_ids_') for name in self.arrays)

    def arguments(self, i):
        """(the model's arguments without labels, labels) of batch i."""
        tokens, segments, lengths, labels = (
            self.arrays['%s_%d' % (name, i)]
            for name in ('token_ids', 'segment_ids', 'valid_length', 'labels'))
        mask = np.arange(tokens.shape[1]) < lengths[:, None]
        arguments = inputs(tokens, segments, mask, labels)
        return arguments, arguments.pop('labels')


# The jobs


def write_losses(args):
    """Train on the batches in --batches as they are; write the loss of each step."""
    batches = Batches(args.batches)
    model = make_model(args.weights, dropout=0.0)
    model.train()
    optimizer = BertAdam(parameter_groups(model, 0.01))
    losses = []
    for i, rate in enumerate(batches.arrays['rates']):
        for group in optimizer.param_groups:
            group['lr'] = float(rate)
        batch, labels = batches.arguments(i)
        batch.update(start_positions=labels[:, 0], end_positions=labels[:, 1])
        with mask_padding(model, batch['attention_mask']):
            losses.append(train_step(model, batch, optimizer, 'float32').item())
    np.savez(args.output, losses=np.array(losses))


@contextlib.contextmanager
def mask_padding(model, attention_mask):
    """A context in which the softmax of the loss excludes padded positions, as in ours; run_qa
    includes them."""
    padded = attention_mask[:, :, None] == 0
    hook = model.qa_outputs.register_forward_hook(
        lambda _, __, scores: scores.masked_fill(padded, -10000.0))
    try:
        yield
    finally:
        hook.remove()


@torch.no_grad()
def write_logits(args):
    """Write the scores (size, length, 2) of each batch in --batches."""
    batches = Batches(args.batches)
    model = make_model(args.weights, dropout=0.0).eval()
    logits = {}
    for i in range(len(batches)):
        outputs = model(**batches.arguments(i)[0])
        logits['logits_%d' % i] = torch.stack([outputs.start_logits, outputs.end_logits], dim=2)
    np.savez(args.output, **{name: value.numpy() for name, value in logits.items()})


def write_predictions(args):
    """Write the answers to --dev, from windows like ours, and the digest of each window."""
    tokenizer = AutoTokenizer.from_pretrained(args.weights)
    model = make_model(args.weights, dropout=0.0)
    questions = read_questions(args.dev)
    windows = cut_windows(tokenizer, questions, same_step=True)
    scores_of = score_windows(model, windows, args.batch_size)
    harness.write_json(args.output, {'predictions': find_answers(questions, windows, scores_of),
                                     'windows': [digest(window) for window in windows]})


def digest(window):
    """sha256 of a window: of the index of its question and its token ids, int32, little endian."""
    values = np.array([window.question] + window.token_ids, dtype='<i4')
    return hashlib.sha256(values.tobytes()).hexdigest()


def write_window_costs(args):
    """Write the cost of reading --dev and cutting it into windows: seconds, peak memory before and
    after, and the number of windows.

    The windows stay in memory as the lists that the tokenizer returns. In run_qa, datasets writes
    them to an Arrow file, which takes more time and less memory.
    """
    tokenizer = AutoTokenizer.from_pretrained(args.weights)
    peak_before, started = harness.peak_memory(), time.time()
    windows = cut_windows(tokenizer, read_questions(args.dev), args.padded)
    harness.write_json(args.output, {'seconds': time.time() - started, 'windows': len(windows),
                                     'bytes': harness.peak_memory(), 'bytes_before': peak_before})


def answer_with_predictions(args):
    """Answer {'squad': file, 'padded': to the longest window} with the answers to its questions
    and the seconds that they took."""
    tokenizer = AutoTokenizer.from_pretrained(args.weights)
    model = make_model(args.weights, dropout=0.0).to(getattr(torch, args.dtype))

    def answer(question):
        started = time.time()
        questions = read_questions(question['squad'])
        windows = cut_windows(tokenizer, questions, question['padded'], same_step=True)
        window_seconds = time.time() - started
        scores_of = score_windows(model, windows, args.batch_size)
        network_seconds = time.time() - started - window_seconds
        answers = find_answers(questions, windows, scores_of)
        seconds = time.time() - started
        return {'seconds': seconds, 'windows': len(windows), 'answers': answers,
                'parts': {'windows': window_seconds, 'network': network_seconds,
                          'answers': seconds - window_seconds - network_seconds}}

    harness.answer_questions(answer)


def train_and_predict(args):
    """Fine-tune with one seed; write the answers to dev, and the curve of the losses."""
    torch.manual_seed(args.seed)
    tokenizer = AutoTokenizer.from_pretrained(args.weights)
    model = make_model(args.weights, dropout=0.1)
    questions = read_questions(args.train)
    windows = cut_windows(tokenizer, questions)
    labels = np.array([label_window(window, questions[window.question].answer)
                       for window in windows])
    print('seed %d: %d questions, %d windows to train on'
          % (args.seed, len(questions), len(windows)), flush=True)
    started = time.time()
    curve = train(model, windows, labels, args)
    seconds = time.time() - started
    questions = read_questions(args.dev)
    windows = cut_windows(tokenizer, questions)
    print('seed %d: %d questions, %d windows to predict'
          % (args.seed, len(questions), len(windows)), flush=True)
    # in float32 after any training: bfloat16 rounds scores to three digits
    answers = find_answers(questions, windows, score_windows(model, windows, args.batch_size,
                                                             by_length=True))
    harness.write_json(args.output, {'predictions': answers, 'curve': curve,
                                     'training_seconds': seconds})


JOBS = {'losses': write_losses, 'logits': write_logits, 'predict': write_predictions,
        'features': write_window_costs, 'speed': answer_with_predictions,
        'scores': train_and_predict}


def main():
    parser = argparse.ArgumentParser(description='worker of the question-answering comparisons')
    parser.add_argument('job', choices=sorted(JOBS))
    harness.add_peer_flags(parser)
    parser.add_argument('--dtype', choices=('float32', 'bfloat16'), default='float32',
                        help='of training (scores: autocast) or of the network (speed)')
    parser.add_argument('--batches', help='.npz of batches, and rates (losses, logits)')
    parser.add_argument('--train', help='SQuAD file to train on (scores)')
    parser.add_argument('--dev', help='SQuAD file to predict (predict, features, scores)')
    parser.add_argument('--padded', action='store_true', help='all windows, fully (features)')
    parser.add_argument('--group_by_length', action='store_true')
    parser.add_argument('--output', help='file to write')
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ['OMP_NUM_THREADS']))
    JOBS[args.job](args)


if __name__ == '__main__':
    main()
