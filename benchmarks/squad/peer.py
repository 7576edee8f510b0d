"""The peer's side of the question-answering comparisons: transformers on PyTorch.

Runs in the peer's own environment (harness.py) and knows nothing of `bert`: it reads the SQuAD
files itself, cuts windows with the tokenizer of transformers, and finds answers by the recipe of
the run_qa example of transformers (20 best starts with 20 best ends, no rule about context).
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

QUESTIONS_PER_CALL = 1000   # of the tokenizer, as datasets' map has it
LOG_STEPS = 50
MEGABATCH = 50              # batches among which --group_by_length sorts, as the Trainer's


class Question(NamedTuple):
    """One question, and the answer that training learns."""
    id: str
    text: str
    context: str
    answer: tuple[str, int] | None   # text, first character


class Window(NamedTuple):
    """What the tokenizer makes of a question and a part of its context."""
    question: int           # its index
    token_ids: list[int]
    segment_ids: list[int]
    mask: list[int]
    spans: list             # of each token the characters (start, end); None outside the context


# Questions and windows


def read_questions(path):
    """The `Question`s of a SQuAD file, in its order."""
    with open(path, encoding='utf-8') as file:
        articles = json.load(file)['data']
    return [Question(qa['id'], qa['question'], paragraph['context'], first_answer(qa))
            for article in articles for paragraph in article['paragraphs']
            for qa in paragraph['qas']]


def first_answer(qa):
    if not qa.get('answers'):
        return None
    return qa['answers'][0]['text'], qa['answers'][0]['answer_start']


def cut(tokenizer, questions, padded=False, same_step=False):
    """The `Window`s of `Question`s, in their order.

    padded: fill every window up to the longest. same_step: start windows as far apart as ours
    (the tokenizer's stride is what two windows share, which then depends on the question's
    length); otherwise they share doc_stride tokens, as in run_qa.
    """
    windows = []
    for shared, indices in strides(tokenizer, questions, same_step).items():
        for start in range(0, len(indices), QUESTIONS_PER_CALL):
            windows += cut_some(tokenizer, questions, indices[start:start + QUESTIONS_PER_CALL],
                                shared, padded)
    return sorted(windows, key=lambda window: window.question) if same_step else windows


def strides(tokenizer, questions, same_step):
    """{tokens that two windows share: indices of the questions}"""
    if not same_step:
        return {harness.DOC_STRIDE: range(len(questions))}
    texts = [question.text.lstrip() for question in questions]
    groups = {}
    for i, ids in enumerate(tokenizer(texts, add_special_tokens=False)['input_ids']):
        room = harness.MAX_SEQ_LENGTH - len(ids) - 3
        groups.setdefault(room - harness.DOC_STRIDE, []).append(i)
    return groups


def cut_some(tokenizer, questions, indices, shared, padded):
    """The `Window`s of the questions with these indices, by one call of the tokenizer."""
    encoded = tokenizer([questions[i].text.lstrip() for i in indices],
                        [questions[i].context for i in indices],
                        truncation='only_second', max_length=harness.MAX_SEQ_LENGTH, stride=shared,
                        padding='max_length' if padded else False,
                        return_overflowing_tokens=True, return_offsets_mapping=True)
    rows = zip(encoded['overflow_to_sample_mapping'], encoded['input_ids'],
               encoded['token_type_ids'], encoded['attention_mask'], encoded['offset_mapping'])
    return [Window(indices[sample], token_ids, segment_ids, mask,
                   [span if part == 1 else None
                    for span, part in zip(spans, encoded.sequence_ids(number))])
            for number, (sample, token_ids, segment_ids, mask, spans) in enumerate(rows)]


def label(window, answer):
    """(first, last) token of the answer; (0, 0), which is [CLS], where the window lacks it."""
    text, first = answer
    places = [i for i, span in enumerate(window.spans) if span is not None]
    starts, ends = np.array([window.spans[i] for i in places]).T
    if starts[0] > first or ends[-1] < first + len(text):
        return 0, 0
    return (places[np.searchsorted(starts, first, side='right') - 1],
            places[np.searchsorted(ends, first + len(text))])


def batch_of(windows):
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


def order_of(lengths, batch_size, rng, grouped):
    """A random order of the training windows; grouped: about equal lengths side by side."""
    order = rng.permutation(len(lengths))
    if not grouped:
        return order
    size = MEGABATCH * batch_size
    return np.concatenate([part[np.argsort(-lengths[part], kind='stable')]
                           for part in np.split(order, range(size, len(order), size))])


def train(model, windows, labels, args):
    """Fine-tune by the recipe of the Trainer; returns [(step, mean loss since the last)]."""
    rng = np.random.RandomState(args.seed)
    lengths = np.array([len(window.token_ids) for window in windows])
    num_steps = -(-len(windows) // args.batch_size) * args.epochs
    optimizer = adamw(model, args.lr)
    schedule = get_linear_schedule_with_warmup(optimizer, int(0.1 * num_steps), num_steps)
    model.train()
    curve, losses, started = [], [], time.time()
    for _ in range(args.epochs):
        order = order_of(lengths, args.batch_size, rng, args.group_by_length)
        for start in range(0, len(order), args.batch_size):
            indices = order[start:start + args.batch_size]
            batch = batch_of([windows[i] for i in indices])
            starts, ends = torch.from_numpy(labels[indices]).T
            losses.append(train_step(model, dict(batch, start_positions=starts,
                                                 end_positions=ends), optimizer, args.dtype))
            schedule.step()
            step = schedule.last_epoch
            if step % LOG_STEPS == 0 or step == num_steps:
                curve.append((step, torch.stack(losses).mean().item()))
                losses = []
                print('seed %d step %d of %d: loss %.4f, %.0f s'
                      % ((args.seed, step, num_steps, curve[-1][1], time.time() - started)),
                      flush=True)
    return curve


# Answers


@torch.no_grad()
def logits_of(model, windows, batch_size, by_length=False):
    """For each window its scores (2, tokens), of start and of end.

    by_length: longest first, so that little is padded; otherwise in the order of the file.
    """
    model.eval()
    order = list(range(len(windows)))
    if by_length:
        order.sort(key=lambda i: -len(windows[i].token_ids))
    found = [None] * len(windows)
    for start in range(0, len(order), batch_size):
        indices = order[start:start + batch_size]
        outputs = model(**batch_of([windows[i] for i in indices]))
        both = torch.stack([outputs.start_logits, outputs.end_logits], dim=1).float().numpy()
        for i, scores in zip(indices, both):
            found[i] = scores[:, :len(windows[i].token_ids)]
    return found


def find_answers(questions, windows, logits):
    """{question id: text} by the recipe of run_qa."""
    candidates = [[] for _ in questions]
    for window, scores in zip(windows, logits):
        candidates[window.question] += candidates_of(window, *scores)
    return {question.id: best_text(question.context, found)
            for question, found in zip(questions, candidates)}


def candidates_of(window, start_scores, end_scores):
    """[(score, first character, the one after the last)] of the best starts with the best ends
    that make a span of the context."""
    starts, ends = (np.argsort(scores)[:-harness.N_BEST - 1:-1].tolist()
                    for scores in (start_scores, end_scores))
    found = []
    for first, last in itertools.product(starts, ends):
        begin, end = window.spans[first], window.spans[last]
        if begin and end and first <= last < first + harness.MAX_ANSWER_LENGTH:
            found.append((start_scores[first] + end_scores[last], begin[0], end[1]))
    return found


def best_text(context, candidates):
    """The text of the best candidate, '' where there is none."""
    # run_qa cuts out and weighs the n best, too
    best = sorted(candidates, key=lambda candidate: candidate[0], reverse=True)[:harness.N_BEST]
    texts = [context[begin:end] for _, begin, end in best]
    return texts[0] if texts else ''


# Batches of our pipeline


class Batches:
    """What ours_squad.save_batches wrote: padded arrays, and more under their own names."""

    def __init__(self, path):
        with np.load(path) as saved:
            self.arrays = dict(saved)

    def __len__(self):
        return sum(name.startswith('token_ids_') for name in self.arrays)

    def arguments(self, i):
        """The model's arguments of batch i, labels left out."""
        tokens, segments, lengths, labels = (
            self.arrays['%s_%d' % (name, i)]
            for name in ('token_ids', 'segment_ids', 'valid_length', 'labels'))
        mask = np.arange(tokens.shape[1]) < lengths[:, None]
        arguments = inputs(tokens, segments, mask, labels)
        return arguments, arguments.pop('labels')


# The jobs


def losses(args):
    """Train on the batches in --batches as they are; write the loss of each step."""
    batches = Batches(args.batches)
    model = make_model(args.weights, dropout=0.0)
    model.train()
    optimizer = BertAdam(parameter_groups(model, 0.01))
    found = []
    for i, rate in enumerate(batches.arrays['rates']):
        for group in optimizer.param_groups:
            group['lr'] = float(rate)
        batch, labels = batches.arguments(i)
        batch.update(start_positions=labels[:, 0], end_positions=labels[:, 1])
        with leaving_padding_out(model, batch['attention_mask']):
            found.append(train_step(model, batch, optimizer, 'float32').item())
    np.savez(args.output, losses=np.array(found))


@contextlib.contextmanager
def leaving_padding_out(model, attention_mask):
    """Within it padded positions take no part in the softmax of the loss. In run_qa they do; ours
    leaves them out."""
    padded = attention_mask[:, :, None] == 0
    hook = model.qa_outputs.register_forward_hook(
        lambda _, __, scores: scores.masked_fill(padded, -10000.0))
    try:
        yield
    finally:
        hook.remove()


@torch.no_grad()
def logits(args):
    """Write the scores (size, length, 2) of each batch in --batches."""
    batches = Batches(args.batches)
    model = make_model(args.weights, dropout=0.0).eval()
    found = {}
    for i in range(len(batches)):
        outputs = model(**batches.arguments(i)[0])
        found['logits_%d' % i] = torch.stack([outputs.start_logits, outputs.end_logits], dim=2)
    np.savez(args.output, **{name: value.numpy() for name, value in found.items()})


def predict(args):
    """Write the answers to --dev, found in windows like ours, and the digest of each window."""
    tokenizer = AutoTokenizer.from_pretrained(args.weights)
    model = make_model(args.weights, dropout=0.0)
    questions = read_questions(args.dev)
    windows = cut(tokenizer, questions, same_step=True)
    found = logits_of(model, windows, args.batch_size)
    harness.write_json(args.output, {'predictions': find_answers(questions, windows, found),
                                     'windows': [digest(window) for window in windows]})


def digest(window):
    """sha256 over the question's index and the token ids, int32, little endian."""
    values = np.array([window.question] + window.token_ids, dtype='<i4')
    return hashlib.sha256(values.tobytes()).hexdigest()


def features(args):
    """Write what it takes to read --dev and cut its windows: seconds, bytes, their number.

    The windows stay in memory as the lists that the tokenizer returns. In run_qa, datasets writes
    them to a file of Arrow's: that takes more time, and less memory.
    """
    tokenizer = AutoTokenizer.from_pretrained(args.weights)
    before, started = harness.peak_memory(), time.time()
    windows = cut(tokenizer, read_questions(args.dev), args.padded)
    harness.write_json(args.output, {'seconds': time.time() - started, 'windows': len(windows),
                                     'bytes': harness.peak_memory(), 'bytes_before': before})


def speed(args):
    """Answer {'squad': file, 'padded': to the longest window} with the answers to its questions
    and the seconds that they took."""
    tokenizer = AutoTokenizer.from_pretrained(args.weights)
    model = make_model(args.weights, dropout=0.0).to(getattr(torch, args.dtype))

    def answer(question):
        started = time.time()
        questions = read_questions(question['squad'])
        windows = cut(tokenizer, questions, question['padded'], same_step=True)
        cutting = time.time() - started
        found = logits_of(model, windows, args.batch_size)
        scoring = time.time() - started - cutting
        answers = find_answers(questions, windows, found)
        seconds = time.time() - started
        return {'seconds': seconds, 'windows': len(windows), 'answers': answers,
                'parts': {'windows': cutting, 'network': scoring,
                          'answers': seconds - cutting - scoring}}

    harness.answer_questions(answer)


def scores(args):
    """Fine-tune with one seed; write the answers to dev, and the curve of the losses."""
    torch.manual_seed(args.seed)
    tokenizer = AutoTokenizer.from_pretrained(args.weights)
    model = make_model(args.weights, dropout=0.1)
    questions = read_questions(args.train)
    windows = cut(tokenizer, questions)
    labels = np.array([label(window, questions[window.question].answer) for window in windows])
    print('seed %d: %d questions, %d windows to train on'
          % (args.seed, len(questions), len(windows)), flush=True)
    started = time.time()
    curve = train(model, windows, labels, args)
    seconds = time.time() - started
    questions = read_questions(args.dev)
    windows = cut(tokenizer, questions)
    print('seed %d: %d questions, %d windows to predict'
          % (args.seed, len(questions), len(windows)), flush=True)
    # in float32 whatever the training: bfloat16 rounds scores to three digits
    answers = find_answers(questions, windows, logits_of(model, windows, args.batch_size,
                                                         by_length=True))
    harness.write_json(args.output, {'predictions': answers, 'curve': curve,
                                     'training_seconds': seconds})


JOBS = {job.__name__: job for job in (losses, logits, predict, features, speed, scores)}


def main():
    parser = argparse.ArgumentParser(description='worker of the question-answering comparisons')
    parser.add_argument('job', choices=sorted(JOBS))
    parser.add_argument('--weights', required=True, help='folder in Hugging Face layout')
    parser.add_argument('--dtype', choices=('float32', 'bfloat16'), default='float32',
                        help='of training (scores: autocast) or of the network (speed)')
    parser.add_argument('--batches', help='.npz of batches, and rates (losses, logits)')
    parser.add_argument('--train', help='SQuAD file to train on (scores)')
    parser.add_argument('--dev', help='SQuAD file to predict (predict, features, scores)')
    parser.add_argument('--padded', action='store_true', help='all windows, fully (features)')
    for flag, kind in (('seed', int), ('epochs', int), ('batch_size', int), ('lr', float)):
        parser.add_argument('--' + flag, type=kind)
    parser.add_argument('--group_by_length', action='store_true')
    parser.add_argument('--output', help='file to write')
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ['OMP_NUM_THREADS']))
    JOBS[args.job](args)


if __name__ == '__main__':
    main()
