"""Our side of the question-answering comparisons: windows, network and answers from `bert`."""
import argparse
import hashlib
import os
import time

import mxnet as mx
import numpy as np

from benchmarks import harness
from benchmarks.weights import conversion
from bert import file_names
from bert.data.batches import collate
from bert.data.squad.files import read_squad
from bert.data.squad.windows import WindowOptions, make_windows
from bert.data.text.tokenizer import BertTokenizer
from bert.flags import allocator
from bert.jobs.finetuning.question_answering import write_parameters
from bert.jobs.runs import model_from_options
from bert.model import zoo
from bert.model.bert import is_fused, set_compute_dtype
from bert.model.kernels.optimizer import fused_update
from bert.model.qa import BertForQA, BertForQALoss
from bert.model.weights.released_weights import Release, fetch_tokens
from bert.pipelines.question_answering import (
    TASK_DEFAULTS,
    QuestionAnswerer,
    open_question_answerer,
)
from bert.train import optimizer
from bert.train.step import Stepper
from bert.vocabulary import make_vocabulary

OPTIONS = WindowOptions(max_seq_length=harness.MAX_SEQ_LENGTH, doc_stride=harness.DOC_STRIDE)
COMPARISON_TASK = dict(TASK_DEFAULTS, name='SQuAD1.1', doc_stride=harness.DOC_STRIDE,
                       n_best_size=harness.N_BEST, max_answer_length=harness.MAX_ANSWER_LENGTH)


# Models


def make_untrained_model(seed):
    """A `QuestionAnswerer` of the pre-trained encoder, without dropout, and a new head."""
    mx.random.seed(seed)
    bert, vocabulary = zoo.get_model(*harness.WEIGHTS, use_pooler=False, use_decoder=False,
                                     use_classifier=False, dropout=0.0)
    network = BertForQA(bert)
    model_from_options.initialise_head(network.span_classifier, mx.cpu())
    network.hybridize()
    tokenizer = BertTokenizer(vocabulary, lower=not bert.config.cased)
    return QuestionAnswerer(network, tokenizer, bert.config, COMPARISON_TASK,
                            OPTIONS.max_seq_length)


def save_model(model, folder):
    """Write a checkpoint folder that `open_model` and convert_checkpoint.py read."""
    os.makedirs(folder)
    write_parameters(os.path.join(folder, file_names.MODEL_FILE), model.network)
    model.write_description(folder)


def open_model(folder, dtype='float32'):
    """The `QuestionAnswerer` of a run or checkpoint, with the task of the comparisons."""
    model = open_question_answerer(folder, mx.cpu())
    set_compute_dtype(model.network, dtype)
    if dtype != 'float32' and not is_fused(model.network, dtype):
        raise SystemExit('no fused kernels with %s here' % dtype)
    model.task, model.max_len = COMPARISON_TASK, OPTIONS.max_seq_length
    return model


def convert(folder, target):
    """Convert a folder of ours to one of transformers, `target`; returns `target`."""
    conversion.convert(folder, target)
    return target


# Batches


def save_batches(path, batches, **named_arrays):
    """Write `Batch`es, and other arrays by their names, as an .npz that the peer reads."""
    arrays = {'%s_%d' % (name, i): getattr(batch, name) for i, batch in enumerate(batches)
              for name in batch._fields}
    np.savez(path, **arrays, **named_arrays)


def collate_windows(model, windows, indices):
    return collate([windows[i] for i in indices], model.padding_id)


def make_stepper(model, learning_rate, seed):
    """The `Stepper` of jobs/finetuning/question_answering.py with the script's defaults."""
    loss = BertForQALoss()

    def forward(batch):
        outputs, labels = model.outputs(batch), mx.nd.array(batch.labels)
        lengths = mx.nd.array(batch.valid_length, dtype='float32')
        return loss(outputs, [labels[:, 0], labels[:, 1]], lengths), labels, outputs

    trainer = optimizer.make_trainer(model.network.collect_params(), 'bertadam', learning_rate,
                                     epsilon=1e-6, weight_decay=0.01)
    return Stepper(forward, trainer, seed, max_norm=1.0, fused=fused_update)


def digest(windows, i):
    """sha256 of window i: of the index of its question and its token ids, int32, little endian."""
    values = np.append(windows.windows[i, 0], windows[i].token_ids)
    return hashlib.sha256(values.astype('<i4').tobytes()).hexdigest()


# The two jobs of speed.py


def write_window_costs(args):
    """Write the cost of reading --dev and cutting it into windows: seconds, peak memory before and
    after, and the number of windows."""
    vocabulary = make_vocabulary(fetch_tokens(Release(*harness.WEIGHTS)))
    tokenizer = BertTokenizer(vocabulary, lower=True)
    peak_before, started = harness.peak_memory(), time.time()
    windows = make_windows(read_squad(args.dev), tokenizer, OPTIONS)
    harness.write_json(args.output, {'seconds': time.time() - started, 'windows': len(windows),
                                     'bytes': harness.peak_memory(), 'bytes_before': peak_before})


def answer_with_predictions(args):
    """Answer {'squad': file} with the answers to its questions and the seconds they took."""
    model = open_model(args.model, args.dtype)

    def answer(question):
        started = time.time()
        squad = read_squad(question['squad'])
        windows = make_windows(squad, model.tokenizer, model.options)
        window_seconds = time.time() - started
        answers = model.find_answers(squad, windows, args.batch_size)
        texts = {item.id: prediction.text()
                 for item, prediction in zip(squad.questions, answers)}
        seconds = time.time() - started
        return {'seconds': seconds, 'windows': len(windows), 'answers': texts,
                'parts': {'windows': window_seconds,
                          'network and answers': seconds - window_seconds}}

    harness.answer_questions(answer)


JOBS = {'features': write_window_costs, 'speed': answer_with_predictions}


def main():
    parser = argparse.ArgumentParser(description='worker of benchmarks.squad.speed')
    parser.add_argument('job', choices=sorted(JOBS))
    parser.add_argument('--model', help='checkpoint folder (speed)')
    parser.add_argument('--batch_size', type=int, help='windows a batch (speed)')
    parser.add_argument('--dtype', default='float32', help='of the products (speed)')
    parser.add_argument('--dev', help='SQuAD file (features)')
    parser.add_argument('--output', help='file to write (features)')
    args = parser.parse_args()
    # as in answer.py, though after the import of mxnet
    allocator.keep_freed_memory(training=False)
    JOBS[args.job](args)


if __name__ == '__main__':
    main()
