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
from bert.data.squad.windows import Options, make_windows
from bert.data.text.tokenizer import BertTokenizer
from bert.flags import allocator
from bert.jobs.finetuning.question_answering import write_parameters
from bert.jobs.runs import model_from_flags
from bert.model import zoo
from bert.model.bert import compute_in, is_fused
from bert.model.kernels.optimizer import fused_update
from bert.model.qa import BertForQA, BertForQALoss
from bert.model.weights.released_weights import Released, fetch_tokens
from bert.pipelines.question_answering import TASK, QAModel, open_qa_model
from bert.train import optimizer
from bert.train.step import Stepper
from bert.vocabulary import make_vocabulary

OPTIONS = Options(max_seq_length=harness.MAX_SEQ_LENGTH, doc_stride=harness.DOC_STRIDE)
TASK_HERE = dict(TASK, name='SQuAD1.1', doc_stride=harness.DOC_STRIDE, n_best_size=harness.N_BEST,
                 max_answer_length=harness.MAX_ANSWER_LENGTH)


# Models


def fresh_model(seed):
    """The pre-trained encoder without dropout, with a new head: a `QAModel`."""
    mx.random.seed(seed)
    bert, vocabulary = zoo.get_model(*harness.WEIGHTS, use_pooler=False, use_decoder=False,
                                     use_classifier=False, dropout=0.0)
    network = BertForQA(bert)
    model_from_flags.initialise_head(network.span_classifier, mx.cpu())
    network.hybridize()
    return QAModel(network, BertTokenizer(vocabulary, lower=not bert.config.cased), bert.config,
                   TASK_HERE, OPTIONS.max_seq_length)


def save_model(model, folder):
    """Write a checkpoint folder that `open_model` and convert_checkpoint.py read."""
    os.makedirs(folder)
    write_parameters(os.path.join(folder, file_names.MODEL), model.network)
    model.write_description(folder)


def open_model(folder, dtype='float32'):
    """The `QAModel` of a run or checkpoint, with the recipe of the comparisons."""
    model = open_qa_model(folder, mx.cpu())
    compute_in(model.network, dtype)
    if dtype != 'float32' and not is_fused(model.network, dtype):
        raise SystemExit('no fused kernels with %s here' % dtype)
    model.task, model.max_len = TASK_HERE, OPTIONS.max_seq_length
    return model


def convert(folder, target):
    """Write a folder of ours as one of transformers; returns its path."""
    conversion.convert(folder, target)
    return target


# Batches


def save_batches(path, batches, **more):
    """`Batch`es to an .npz that the peer reads, and other arrays."""
    arrays = {'%s_%d' % (name, i): getattr(batch, name) for i, batch in enumerate(batches)
              for name in batch._fields}
    np.savez(path, **arrays, **more)


def collate_windows(model, windows, indices):
    return collate([windows[i] for i in indices], model.padding_id)


def make_stepper(model, learning_rate, seed):
    """The `Stepper` of jobs/question_answering.py with the script's defaults."""
    loss = BertForQALoss()

    def forward(batch):
        outputs, labels = model.outputs(batch, mx.cpu()), mx.nd.array(batch.labels)
        lengths = mx.nd.array(batch.valid_length, dtype='float32')
        return loss(outputs, [labels[:, 0], labels[:, 1]], lengths), labels, outputs

    trainer = optimizer.make_trainer(model.network.collect_params(), 'bertadam', learning_rate,
                                     epsilon=1e-6, weight_decay=0.01)
    return Stepper(forward, trainer, seed, max_norm=1.0, fused=fused_update)


def digest(windows, i):
    """sha256 over the index of window i's question and its token ids, int32, little endian."""
    values = np.append(windows.windows[i, 0], windows[i].token_ids)
    return hashlib.sha256(values.astype('<i4').tobytes()).hexdigest()


# The two jobs of speed.py


def features(args):
    """Write what it takes to read --dev and cut its windows: seconds, bytes, their number."""
    vocabulary = make_vocabulary(fetch_tokens(Released(*harness.WEIGHTS)))
    tokenizer = BertTokenizer(vocabulary, lower=True)
    before, started = harness.peak_memory(), time.time()
    windows = make_windows(read_squad(args.dev), tokenizer, OPTIONS)
    harness.write_json(args.output, {'seconds': time.time() - started, 'windows': len(windows),
                                     'bytes': harness.peak_memory(), 'bytes_before': before})


def speed(args):
    """Answer {'squad': file} with the answers to its questions and the seconds they took."""
    model = open_model(args.model, args.dtype)

    def answer(question):
        started = time.time()
        squad = read_squad(question['squad'])
        windows = make_windows(squad, model.tokenizer, model.options)
        cutting = time.time() - started
        answers = model.find_answers(squad, windows, args.batch_size, mx.cpu())
        texts = {one.id: found.text() for one, found in zip(squad.questions, answers)}
        seconds = time.time() - started
        return {'seconds': seconds, 'windows': len(windows), 'answers': texts,
                'parts': {'windows': cutting, 'network and answers': seconds - cutting}}

    harness.answer_questions(answer)


JOBS = {job.__name__: job for job in (features, speed)}


def main():
    parser = argparse.ArgumentParser(description='worker of speed.py')
    parser.add_argument('job', choices=sorted(JOBS))
    parser.add_argument('--model', help='checkpoint folder (speed)')
    parser.add_argument('--batch_size', type=int, help='windows a batch (speed)')
    parser.add_argument('--dtype', default='float32', help='of the products (speed)')
    parser.add_argument('--dev', help='SQuAD file (features)')
    parser.add_argument('--output', help='file to write (features)')
    args = parser.parse_args()
    allocator.keep_freed(training=False)   # as answer.py does, if later
    JOBS[args.job](args)


if __name__ == '__main__':
    main()
