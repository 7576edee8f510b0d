"""Fine-tuning of a classifier or regressor on single texts or pairs: the whole job."""
import dataclasses
import hashlib
import logging
import os
import time

import mxnet as mx
import numpy as np

from bert import file_names, files
from bert.data.batches import collate, evaluation_batches, subsample
from bert.data.glue.audit import audit, describe_audit
from bert.data.glue.download import locate_task
from bert.data.glue.labels import LabelEncoder
from bert.data.glue.tasks import CUSTOM_SUBMISSION
from bert.data.text.readers import read_examples
from bert.data.text.tokenizer import BertTokenizer
from bert.data.transform import check_max_length, featurize
from bert.errors import UserError
from bert.jobs.finetuning.task_from_flags import check_classifier_flags, make_task, run_name
from bert.jobs.int8 import calibration
from bert.jobs.runs import model_from_flags, run_folder, training
from bert.model import zoo
from bert.model.classification import make_classifier_network, make_loss
from bert.pipelines.classification import Classifier
from bert.pipelines.evaluation_sets import TextSet
from bert.train.log import format_duration, progress_bar
from bert.train.loop import TrainerState
from bert.train.metrics import Metric, format_metrics
from bert.train.optimizer import check_optimizer_copies
from bert.train.step import step_seed
from bert.train.workers import open_workers, take_share

SCRIPT = 'finetune_classifier.py'
SAMPLES_SHOWN = 5       # dev predictions printed at the end
DEFAULT_MODEL, CHINESE_DATASET = 'bert_12_768_12', 'wiki_cn_cased'


def finetune_classifier(args):
    """Train (or only evaluate) by the parsed flags of finetune_classifier.py.

    Returns the report in results.json. Raises `UserError`.
    """
    name = run_name(args)
    if args.task_name:
        args.task_name = name       # one spelling for options.json and a resume
    workers = open_workers(args.comm_backend)
    folder = run_folder.reopen_run_folder(args, name, SCRIPT) if args.resume else None
    device = training.pick_training_device(args, workers)
    check_optimizer_copies(args.optimizer, 1, workers.size)
    check_classifier_flags(args)
    if args.only_calibration:
        calibration.check_calibration_flags(args)
    task = make_task(args)
    check_max_length(args.max_len, task.pair)
    args.task_name = task.name
    log_name = file_names.LOG_FILE % task.name
    output_files = [log_name, file_names.AUDIT_FILE] + [segment.submission or CUSTOM_SUBMISSION
                                                        for segment in task.segments.values()] + \
        calibration.quantized_files(calibration.quantized_prefix(task.describe(), args.calib_mode))
    folder = folder or training.open_shared_folder(args, task.name, SCRIPT, output_files, workers)

    def run_seed(seed_args, seed_folder):
        return _run_seed(seed_args, task, device, seed_folder, workers)
    return training.run_seeds(args, task.name, folder, log_name, run_seed, workers)


def _run_seed(args, task, device, folder, workers):
    logging.info('Now we are doing BERT classification %s on %s!',
                 'inference' if args.only_inference else 'training', device)
    logging.info('the run is in %s', folder)
    return ClassifierTrainer(args, task, device, folder, workers).run()


def pick_dataset(args, task):
    """The pre-training corpus: --bert_dataset, else the Chinese one if the default model is trained
    on a Chinese task; None leaves the choice to the zoo."""
    if args.bert_dataset or task.language != 'zh' or args.bert_model != DEFAULT_MODEL:
        return args.bert_dataset
    logging.info('%s is Chinese: --bert_dataset %s', task.name, CHINESE_DATASET)
    return CHINESE_DATASET


@dataclasses.dataclass
class SegmentData:
    """One segment: its examples and their features, in the order of the file."""
    path: str
    examples: list
    features: list


class ClassifierTrainer(training.Trainer):
    """Trains and evaluates a classifier with one seed."""

    def __init__(self, args, task, device, folder, workers):
        super().__init__(args, task.name, device, folder, workers)
        self.task = task
        self.loss = make_loss(task.is_regression)

    def run(self):
        args = self.args
        examples, rejected_rows = self._read()
        self.model = self._build_model()
        model_from_flags.apply_dtype(self.model.network, args.dtype)
        check_max_length(args.max_len, self.task.pair, self.model.config.max_length)
        self.data = self._featurize(examples)
        self._audit(rejected_rows)
        if args.only_calibration:
            return self._calibrate()
        state = TrainerState() if args.only_inference else self._train()
        return self._conclude(state)

    # Data

    def _read(self):
        """({segment: (path, examples)}, rejected rows)"""
        task, args = self.task, self.args
        has_own_files = args.train_file or args.dev_file or args.test_file
        paths = ({name: segment.file for name, segment in task.segments.items()}
                 if has_own_files else locate_task(task, args.data_dir))
        kinds = ('dev', 'test') if args.only_inference else ('train', 'dev', 'test')
        kinds = ('train', 'dev') if args.only_calibration else kinds
        label_encoder = LabelEncoder(task.labels, task.aliases)
        examples, rejected_rows = {}, []
        for name in [name for kind in kinds for name in task.names(kind) if name in paths]:
            segment = task.segments[name]
            # a submission counts the rows of its file: none may be missing
            skip_bad_rows = (task.skip_bad_rows or args.skip_bad_rows) and not segment.submission
            segment_examples, bad_rows = read_examples(
                paths[name], segment.table, label_encoder if segment.has_labels else None,
                skip_bad_rows)
            examples[name] = (paths[name], self._sample(name, segment_examples))
            rejected_rows += bad_rows
        for name in task.segments:
            if name not in paths:
                logging.info('no file for the segment %s', name)
        self._check_kinds(examples, paths)
        return examples, rejected_rows

    def _check_kinds(self, examples, paths):
        """Raises `UserError` unless there are train and dev, or, for inference, any segment."""
        missing_kinds = [kind for kind in ('train', 'dev')
                         if not any(name.startswith(kind) for name in examples)]
        if self.args.only_inference and not self.args.only_calibration:
            missing_kinds = [] if examples else ['dev or test']
        if missing_kinds:
            raise UserError('%s: no %s file among %s'
                            % (self.task.name, missing_kinds[0], ', '.join(paths.values())))

    def _sample(self, name, examples):
        limits = {'train': self.args.max_train_samples, 'dev': self.args.max_eval_samples}
        return subsample(examples, limits.get(name.split('_')[0]))

    def _featurize(self, examples):
        label_encoder = LabelEncoder(self.task.labels, self.task.aliases)
        return {name: SegmentData(path, segment_examples, featurize(
            segment_examples, self.model.tokenizer, self.args.max_len,
            label_encoder if self.task.segments[name].has_labels else None))
            for name, (path, segment_examples) in examples.items()}

    def _audit(self, rejected_rows):
        report = audit(self.task, {name: (data.path, data.examples, data.features)
                                   for name, data in self.data.items()},
                       rejected_rows, self.args.max_len)
        for line in describe_audit(report):
            logging.info(line)
        if not self.workers.rank:
            files.write_json(os.path.join(self.folder, file_names.AUDIT_FILE), report)

    # Model

    def _build_model(self):
        args, task = self.args, self.task
        bert, vocabulary = model_from_flags.build_encoder(args, pick_dataset(args, task),
                                                          self.device)
        network = make_classifier_network(bert, task.labels, args.dropout)
        model_from_flags.initialise_head(network.classifier, self.device)
        if args.model_parameters:
            zoo.load_model(network, args.model_parameters, vocabulary, self.device)
        elif args.only_inference:
            logging.warning('no --model_parameters: the head is untrained, its answers are '
                            'chance; the model.params of a checkpoint holds a trained one')
        network.hybridize()
        tokenizer = BertTokenizer(vocabulary, lower=not bert.config.cased)
        return Classifier(network, tokenizer, bert.config, task.describe(), args.max_len)

    def _calibrate(self):
        """Make an INT8 network instead of training or inference; returns its report."""
        sets = {name: TextSet(name, data.path, data.features, self.task.metrics)
                for name, data in self.data.items()}
        return calibration.calibrate_model(self.args, self.model, sets, self.folder,
                                           self.args.dev_batch_size, self.device)

    # Training

    def _train(self):
        features = self.data['train'].features
        return self.fit_and_load_best([feature.valid_length for feature in features],
                                      _digest(features), Metric(self.task.metrics, self.workers))

    def materialize(self):
        # the seed with which a single process draws these values
        mx.random.seed(step_seed(self.args.seed, 1))
        self.forward(self.collate([0]))

    def forward(self, batch):
        """(loss of each example, labels, outputs) of a batch, as `Stepper` needs them."""
        outputs = self._outputs(batch)
        labels = mx.nd.array(batch.labels, ctx=self.device)
        return self.loss(outputs, labels), labels, outputs

    def _outputs(self, batch):
        return self.model.outputs(batch, self.device)

    def collate(self, indices):
        return self._collate(self.data['train'], indices)

    def _collate(self, data, indices):
        args = self.args
        return collate([data.features[i] for i in indices], self.model.padding_id,
                       args.round_to or 1, args.max_len if args.pad else None)

    # Evaluation

    def evaluate(self, interrupt=None):
        """{segment: [(metric, value)]} for the dev segments; None when interrupted."""
        scores = {}
        for name in [name for name in self.data if name.startswith('dev')]:
            logging.info('Now we are doing evaluation on %s with %s.', name, self.device)
            outputs = self._predict(self.data[name], interrupt, log=True)
            if outputs is None:
                return None
            scores[name] = self._score(self.data[name], outputs)
            logging.info('validation metrics:%s', format_metrics(scores[name]))
        return scores

    def _score(self, data, outputs):
        metric = Metric(self.task.metrics)
        metric.update(np.array([feature.label for feature in data.features]), outputs)
        return metric.get()

    def _predict(self, data, interrupt=None, log=False):
        """Outputs (examples, number of outputs) float32, in the order of the file; None when
        interrupted."""
        lengths = [feature.valid_length for feature in data.features]
        args = self.args
        if args.pad or args.round_to:   # the flags ask for padding in any case
            batches = evaluation_batches(lengths, args.dev_batch_size)
        else:
            batches = self.model.batches(lengths, args.dev_batch_size, self.device)
        batches = take_share(batches, self.workers.rank, self.workers.size)
        outputs = np.zeros((len(lengths), self.task.num_outputs), dtype='float32')
        start_time = time.time()
        with progress_bar(len(batches), unit='batch', description='evaluating') as bar:
            for i, indices in enumerate(batches, 1):
                if interrupt is not None and interrupt.is_requested:
                    return None
                batch = self._collate(data, indices)
                result = self._outputs(batch)
                outputs[indices] = result.asnumpy()
                bar.update(1)
                if log and i % args.log_interval == 0:
                    self._log_batch(i, len(batches), result, batch)
        seconds = time.time() - start_time
        logging.info('Time cost=%.2fs, throughput=%.2f samples/s', seconds,
                     len(lengths) / seconds)
        # the rows of other workers are zero here: the sum fills them in
        return outputs if self.workers.size == 1 else self.workers.sum(outputs).astype('float32')

    def _log_batch(self, index, num_batches, outputs, batch):
        metric = Metric(self.task.metrics)
        metric.update(batch.labels, outputs.asnumpy())
        loss = self.loss(outputs, mx.nd.array(batch.labels, ctx=self.device)).mean().asscalar()
        logging.info('[Batch %d/%d] loss=%.4f, metrics:%s', index, num_batches, loss,
                     format_metrics(metric.get()))

    # The end of a run

    def _conclude(self, state):
        """Write test predictions, results.json and curves.png, and print some predictions."""
        metrics = self._final_metrics(state)
        for name in [name for name in self.data if name.startswith('test')]:
            metrics.update(self._test(name))
        if self.workers.rank:
            return None
        report = self.report(state, metrics)
        if state.curve:
            logging.info('trained %s, %.1f examples/s', format_duration(state.seconds),
                         report['examples_per_second'])
        self._show_predictions()
        logging.info('results: %s', os.path.join(self.folder, file_names.RESULTS_FILE))
        return report

    def _final_metrics(self, state):
        for entry in state.history:
            if entry['step'] == state.best_step:
                return dict(entry['metrics'])
        return {name: dict(values) for name, values in (self.evaluate() or {}).items()}

    def _test(self, name):
        """Write the submission of a test segment; returns its scores, {} without labels."""
        segment, data = self.task.segments[name], self.data[name]
        outputs = self._predict(data)
        if not self.workers.rank:
            self._write_submission(name, segment.submission, outputs)
        if not segment.has_labels:
            return {}
        scores = self._score(data, outputs)
        logging.info('%s metrics:%s', name, format_metrics(scores))
        return {name: dict(scores)}

    def _write_submission(self, name, file_name, outputs):
        path = os.path.join(self.folder, file_name)
        with files.atomic_write(path) as out:
            out.write('index\tprediction\n')
            for i, prediction in enumerate(self.model.predictions(outputs)):
                out.write('%d\t%s\n' % (i, prediction))
        logging.info('predictions of %s: %s', name, path)

    def _show_predictions(self):
        """Print predictions on a few dev examples, the same in every run."""
        name = next((name for name in self.data if name.startswith('dev')), None)
        if name is None:
            return
        data = self.data[name]
        rows = np.random.RandomState(0).permutation(len(data.examples))[:SAMPLES_SHOWN]
        sample = SegmentData(data.path, [data.examples[i] for i in rows],
                             [data.features[i] for i in rows])
        batch = self._collate(sample, range(len(rows)))
        outputs = self._outputs(batch).asnumpy()
        print('\nSome predictions on %s:' % name)
        for example, feature, answer, output in zip(
                sample.examples, sample.features, self.model.describe(outputs), outputs):
            verdict = '' if self.task.is_regression else \
                ('  right' if output.argmax() == feature.label else '  wrong')
            print('  %s (label %s)%s: %s' % (_format_answer(answer), example.label, verdict,
                                             ' | '.join(example.texts)))


def _digest(features):
    """sha256 of the tokens and labels of training examples."""
    total = hashlib.sha256()
    for feature in features:
        total.update(feature.token_ids.tobytes() + b'|' + feature.label.tobytes())
    return total.hexdigest()


def _format_answer(answer):
    if 'score' in answer:
        return '%.2f' % answer['score']
    return '%s %.0f %%' % (answer['label'], 100 * answer['probability'])
