"""Fine-tuning of BERT on SQuAD, with dynamic or static shapes: the whole job."""
import dataclasses
import hashlib
import logging
import os
import time

import mxnet as mx
import numpy as np

from bert import file_names, files
from bert.data.batches import collate, subsample
from bert.data.squad import metric as squad_metric
from bert.data.squad.download import locate_squad
from bert.data.squad.files import Squad, check_unique_ids, describe_problems, read_squad
from bert.data.squad.spans import n_best_entries
from bert.data.squad.windows import WindowOptions, Windows, load_windows
from bert.errors import UserError
from bert.export.symbol import export_network
from bert.jobs.int8 import calibration
from bert.jobs.runs import model_from_flags, run_folder, training
from bert.jobs.runs.model_from_flags import (
    apply_saved_task,
    build_question_answerer,
    resolve_lengths,
)
from bert.model.qa import BertForQALoss
from bert.pipelines.evaluation_sets import QuestionSet
from bert.train import checkpoint
from bert.train.log import format_duration
from bert.train.loop import TrainerState
from bert.train.optimizer import check_optimizer_copies
from bert.train.workers import open_workers

DEBUG_TRAIN, DEBUG_DEV = 10000, 100     # numbers of questions with --debug, as in the original
PERCENTILES = (50, 90, 99)


@dataclasses.dataclass(frozen=True)
class ScriptProfile:
    """What differs between finetune_squad.py and static_finetune_squad.py."""
    script: str
    log: str
    log_line: callable
    is_static: bool


def dynamic_line(entry):
    """The line of the original finetune_squad.py, its "Thoughput" spelt right."""
    return 'Batch: %d/%d, Loss=%.4f, lr=%.7f Throughput=%.2f samples/s' % (
        entry.batch - 1, entry.num_batches, entry.loss, entry.rate, entry.examples_per_second)


def static_line(entry):
    """The line of the original static_finetune_squad.py, its "Thoughput" spelt right."""
    return ('Epoch: %d, Batch: %d/%d, Loss=%.4f, lr=%.7f Time cost=%.1f Throughput=%.2f samples/s'
            % (entry.epoch, entry.batch - 1, entry.num_batches, entry.loss, entry.rate,
               entry.seconds, entry.examples_per_second))


DYNAMIC_SCRIPT = ScriptProfile('finetune_squad.py', 'finetune_squad.log', dynamic_line, False)
STATIC_SCRIPT = ScriptProfile('static_finetune_squad.py', 'static_finetune_squad.log', static_line,
                              True)


def finetune_question_answerer(args, profile=DYNAMIC_SCRIPT):
    """Train (or only predict) by the parsed flags; returns the report in results.json.

    Raises `UserError`.
    """
    name = ('static-' if profile.is_static else '') + 'SQuAD' + ('2.0' if args.version_2 else '1.1')
    workers = open_workers(args.comm_backend)
    folder = run_folder.reopen_run_folder(args, name, profile.script) if args.resume else None
    device = training.pick_training_device(args, workers)
    check_optimizer_copies(args.optimizer, 1, workers.size)
    seq_length = check_squad_flags(args, profile)
    output_files = [profile.log, file_names.AUDIT_FILE, file_names.PREDICTIONS_FILE,
                    file_names.N_BEST_FILE, file_names.NULL_ODDS_FILE, file_names.NET_FILE]
    output_files += file_names.symbol_names(file_names.STATIC_NET_PREFIX, args.epochs)
    output_files += calibration.quantized_files(calibration.quantized_prefix({}, args.calib_mode))
    if not folder:
        folder = training.open_shared_folder(args, name, profile.script, output_files, workers)

    def run_seed(seed_args, seed_folder):
        logging.info('the run is in %s', seed_folder)
        trainer = QuestionAnsweringTrainer(seed_args, name, device, seed_folder, workers, profile,
                                           seq_length)
        return trainer.run()
    return training.run_seeds(args, name, folder, profile.log, run_seed, workers)


def check_squad_flags(args, profile):
    """Raises `UserError` for flags that contradict each other, and sets those that follow from
    others. Returns the length of static windows, None for dynamic ones."""
    training.check_training_flags(args)
    if args.only_calibration:
        calibration.check_calibration_flags(args)
    apply_saved_task(args)
    seq_length = resolve_lengths(args) if profile.is_static else None
    WindowOptions(args.max_seq_length, args.doc_stride, args.max_query_length).check()
    if args.threshold_file and not args.version_2:
        raise UserError('--threshold_file is for --version_2: SQuAD 1.1 has no threshold')
    if args.threshold_file and 'null_score_diff_threshold' in args.explicit_flags:
        raise UserError('--threshold_file and --null_score_diff_threshold: give one of the two')
    if args.early_stop:
        args.evaluate_epochs = True     # early stopping counts evaluations
    if args.debug:
        args.max_train_samples = args.max_train_samples or DEBUG_TRAIN
        args.max_eval_samples = args.max_eval_samples or DEBUG_DEV
    return seq_length


@dataclasses.dataclass
class SquadData:
    """One SQuAD file and its windows."""
    squad: Squad
    windows: Windows

    @property
    def digest(self):
        """sha256 of all arrays that training reads."""
        total = hashlib.sha256()
        for name, array in self.windows.arrays().items():
            if name != 'context_spans':
                total.update(array.tobytes() + b'|')
        return total.hexdigest()


class QuestionAnsweringTrainer(training.Trainer):
    """Trains and evaluates a question-answering model with one seed."""

    def __init__(self, args, name, device, folder, workers, profile, seq_length):
        super().__init__(args, name, device, folder, workers)
        self.log_line = profile.log_line
        self._seq_length = seq_length
        self._loss = BertForQALoss()
        self._loss.hybridize()
        self._answers = None    # to the dev questions, by the current parameters

    def run(self):
        squads = self._read()
        self.model = self._build_model()
        model_from_flags.apply_dtype(self.model.network, self.args.dtype)
        self.model.options.check(self.model.config.max_length)
        self.data = {kind: self._featurize(kind, squad) for kind, squad in squads.items()}
        self._audit()
        if self.args.only_calibration:
            return self._calibrate()
        state = TrainerState() if self.args.only_predict else self._train()
        return self._conclude(state)

    # Data

    def _read(self):
        """{kind: `Squad`}: dev, train unless --only_predict, and the file for the threshold."""
        args = self.args
        kinds = ['dev'] if args.only_predict and not args.only_calibration else ['train', 'dev']
        squads = {}
        for kind in kinds + (['threshold'] if args.threshold_file else []):
            logging.info('Loading %s data...', kind)
            path = getattr(args, kind + '_file') or locate_squad(kind, args.version_2,
                                                                 args.data_dir)
            squad = read_squad(path, args.version_2)
            for line in describe_problems(squad):
                logging.warning(line)
            squads[kind] = self._select_questions(kind, squad)
            logging.info('Number of records in %s data:%d', kind.capitalize(),
                         len(squads[kind].questions))
        self._check_threshold_file(squads)
        return squads

    def _select_questions(self, kind, squad):
        """The questions that the run uses. Raises `UserError` for a file unfit for its kind."""
        if kind != 'dev' and not squad.has_labels:
            raise UserError('%s: its questions have no "answers": they can\'t be used for '
                            'training' % squad.path)
        if kind == 'train':
            squad = squad.select_trainable()
            if not squad.questions:
                raise UserError('%s: no question in it that can be trained on' % squad.path)
        else:
            check_unique_ids(squad)
        if kind == 'dev' and self.args.evaluate_epochs and not squad.has_labels:
            raise UserError('%s: its questions have no "answers": leave --evaluate_epochs and '
                            '--early_stop out' % squad.path)
        limit = self.args.max_train_samples if kind == 'train' else self.args.max_eval_samples
        return squad.select(subsample(range(len(squad.questions)), limit))

    def _check_threshold_file(self, squads):
        """Raises `UserError` if dev and --threshold_file share questions: the threshold must not be
        chosen on the questions that it is scored on."""
        if 'threshold' not in squads:
            return
        shared = {q.id for q in squads['dev'].questions} & \
            {q.id for q in squads['threshold'].questions}
        if shared:
            raise UserError('--threshold_file %s: %d of its questions are in %s too, "%s" say: a '
                            'threshold is chosen on other questions than those it is scored on'
                            % (self.args.threshold_file, len(shared), squads['dev'].path,
                               sorted(shared)[0]))

    def _featurize(self, kind, squad):
        start_time = time.time()
        windows, path, is_cached = load_windows(squad, self.model.tokenizer, self.model.options)
        logging.info('The number of examples after preprocessing:%d', len(windows))
        logging.info('Done! Transform dataset costs %.2f seconds.', time.time() - start_time)
        if path:
            logging.info('features of %s: %s %s', kind,
                         'read from' if is_cached else 'kept in', path)
        return SquadData(squad, windows)

    def _audit(self):
        report = {'max_seq_length': self.args.max_seq_length, 'segments': {
            kind: describe_data(data) for kind, data in self.data.items()}}
        for kind, values in report['segments'].items():
            logging.info('%s: %d questions on %d contexts of %s; %d windows (tokens: %s); %d '
                         'questions need several, %d are cut at --max_query_length; %d answers '
                         'are whole in no window', kind,
                         values['questions'], values['contexts'], values['file'],
                         values['windows'],
                         ', '.join('%s %d' % item for item in values['token_length'].items()),
                         values['questions_in_several_windows'], values['questions_cut'],
                         values['answers_in_no_window'])
        if not self.workers.rank:
            files.write_json(os.path.join(self.folder, file_names.AUDIT_FILE), report)

    # Model and training

    def _build_model(self):
        args = self.args
        return build_question_answerer(args, {
            'name': self.name, 'version_2': args.version_2, 'max_len': args.max_seq_length,
            'doc_stride': args.doc_stride, 'max_query_length': args.max_query_length,
            'n_best_size': args.n_best_size, 'max_answer_length': args.max_answer_length,
            'null_score_diff_threshold': args.null_score_diff_threshold},
            self.device, self._seq_length)

    def _calibrate(self):
        """Make an INT8 network instead of training or prediction; returns its report."""
        sets = {name: QuestionSet(name, data.squad, self._windows)
                for name, data in self.data.items()}
        return calibration.calibrate_model(self.args, self.model, sets, self.folder,
                                           self.args.test_batch_size, self.device)

    def _windows(self, squad):
        return load_windows(squad, self.model.tokenizer, self.model.options)[0]

    def _train(self):
        data = self.data['train']
        return self.fit_and_load_best(data.windows.lengths, data.digest)

    def collate(self, indices):
        windows = self.data['train'].windows
        return collate([windows[i] for i in indices], self.model.padding_id,
                       self.args.round_to or 1)

    def forward(self, batch):
        outputs = self.model.outputs(batch, self.device)
        labels, lengths = (mx.nd.array(array, ctx=self.device, dtype='float32')
                           for array in (batch.labels, batch.valid_length))
        return self._loss(outputs, [labels[:, 0], labels[:, 1]], lengths), labels, outputs

    # Evaluation

    def evaluate(self, interrupt=None):
        """{'dev': scores} after the last epoch, or with --evaluate_epochs after each; else {}. None
        when interrupted."""
        self._answers = None
        if not (self.args.evaluate_epochs or self.loop.is_last_epoch):
            return {}
        self._answers = self._predict('dev', interrupt)
        if self._answers is None:
            return None
        if not self.data['dev'].squad.has_labels:
            return {}
        values = self._score(self._answers)
        logging.info(str(values))
        # F1 picks the best checkpoint
        return {'dev': [('f1', values.pop('f1'))] + list(values.items())}

    def _predict(self, kind, interrupt=None):
        """[`Answer`], one per question; None when interrupted."""
        data, start_time = self.data[kind], time.time()
        answers = self.model.find_answers(data.squad, data.windows, self.args.test_batch_size,
                                          self.device, interrupt, self.workers)
        seconds = time.time() - start_time
        if answers is not None:
            logging.info('Time cost=%.2f s, Throughput=%.2f samples/s', seconds,
                         len(data.windows) / seconds)
        return answers

    def _score(self, answers):
        """The official metrics on dev, under their official keys."""
        squad, threshold = self.data['dev'].squad, self.model.task['null_score_diff_threshold']
        if not self.args.version_2:
            return squad_metric.evaluate_v1(squad.answers(), predictions(squad, answers))
        return squad_metric.evaluate_v2(
            squad.answers(), predictions(squad, answers, True, np.inf),
            {q.id: answer.null_odds for q, answer in zip(squad.questions, answers)}, threshold)

    # The end of a run

    def _conclude(self, state):
        """Choose the threshold; write predictions, net.params, the symbol and results.json."""
        if self._answers is None or state.best_step != state.step:
            self._answers = self._predict('dev')
        if self.args.threshold_file:
            self._choose_threshold()
        if self.workers.rank:
            return None
        squad, answers, task = self.data['dev'].squad, self._answers, self.model.task
        write_predictions(self.folder, squad, answers, task)
        metrics = {'dev': self._score(answers)} if squad.has_labels else {}
        if metrics:
            logging.info('scores of dev: %s', metrics['dev'])
            if self.args.version_2:
                logging.info('best_exact and best_f1 have thresholds chosen on these very answers: '
                             'they are an oracle, not a score')
        if not self.args.only_predict:
            path = os.path.join(self.folder, file_names.NET_FILE)
            write_parameters(path, self.model.network)
            logging.info('parameters: %s', path)
        if getattr(self.args, 'export', False):
            paths = export_network(self.model.network, self.folder, file_names.STATIC_NET_PREFIX,
                                   self.args.epochs)
            logging.info('symbol: %s', ', '.join(paths))
        report = self.report(state, metrics,
                             null_score_diff_threshold=task['null_score_diff_threshold'])
        if state.curve:
            logging.info('trained %s, %.1f samples/s', format_duration(state.seconds),
                         report['examples_per_second'])
        logging.info('results: %s', os.path.join(self.folder, file_names.RESULTS_FILE))
        return report

    def _choose_threshold(self):
        """Use the threshold with the best F1 on --threshold_file, and save it in the best
        checkpoint."""
        squad, answers = self.data['threshold'].squad, self._predict('threshold')
        texts = predictions(squad, answers, True, np.inf)
        scores = squad_metric.evaluate_v2(squad.answers(), texts, {
            q.id: answer.null_odds for q, answer in zip(squad.questions, answers)})
        threshold = scores['best_f1_thresh']
        self.model.task['null_score_diff_threshold'] = threshold
        logging.info('null_score_diff_threshold %.4f, chosen on %s (F1 %.2f there)', threshold,
                     squad.path, scores['best_f1'])
        folder = checkpoint.best_checkpoint(self.folder)
        if folder and not self.args.only_predict and not self.workers.rank:
            files.write_json(os.path.join(folder, file_names.TASK_FILE),
                             dict(self.model.task, max_len=self.model.max_len))


def describe_data(data):
    """The audit's entry for one file: {key: value}."""
    squad, windows = data.squad, data.windows
    counts = np.array([count for _, count in windows.question_windows()])
    lengths = windows.lengths
    report = {'file': squad.path, 'questions': len(squad.questions),
              'contexts': len({question.context for question in squad.questions}),
              'without_answer': sum(question.is_impossible for question in squad.questions),
              'windows': len(windows), 'questions_in_several_windows': int((counts > 1).sum()),
              'questions_cut': int((windows.question_cut > 0).sum()),
              'answers_in_no_window': windows.answers_in_no_window(),
              'token_length': {'p%d' % p: int(np.percentile(lengths, p)) for p in PERCENTILES},
              'problems': [problem._asdict() for problem in squad.problems]}
    report['token_length']['max'] = int(lengths.max())
    return report


def predictions(squad, answers, version_2=False, threshold=0.0):
    """{question id: text}, the content of predictions.json."""
    return {question.id: answer.text(version_2, threshold)
            for question, answer in zip(squad.questions, answers)}


def write_predictions(folder, squad, answers, task):
    """Write predictions.json, nbest_predictions.json and, for SQuAD 2.0, null_odds.json."""
    version_2 = task['version_2']
    ids = [question.id for question in squad.questions]
    contents = {file_names.PREDICTIONS_FILE: predictions(squad, answers, version_2,
                                                         task['null_score_diff_threshold']),
                file_names.N_BEST_FILE: {question_id: n_best_entries(answer, version_2)
                                         for question_id, answer in zip(ids, answers)}}
    if version_2:
        contents[file_names.NULL_ODDS_FILE] = {question_id: answer.null_odds
                                               for question_id, answer in zip(ids, answers)}
    for name, content in contents.items():
        files.write_json(os.path.join(folder, name), content)
    logging.info('predictions: %s', ', '.join(os.path.join(folder, name) for name in contents))


def write_parameters(path, network):
    """Write all parameters of a network under gluonnlp's names, completely or not at all. Raises
    `UserError`."""
    try:
        with files.new_file(path) as temporary:
            checkpoint.save_arrays(temporary, checkpoint.collect_parameters(network))
    except (OSError, mx.MXNetError) as error:
        raise UserError('%s: can\'t write: %s' % (path, checkpoint.failure_reason(error))) from None
