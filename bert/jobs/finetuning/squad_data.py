"""The data of a SQuAD run: its files, read, sampled, cut into windows and audited."""
import dataclasses
import hashlib
import logging
import os
import time

import numpy as np

from bert import file_names, files
from bert.data.batches import subsample
from bert.data.squad.download import locate_squad
from bert.data.squad.files import Squad, check_unique_ids, describe_problems, read_squad
from bert.data.squad.windows import Windows, load_windows
from bert.errors import UserError

PERCENTILES = (50, 90, 99)


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


def read_squads(options):
    """{kind: `Squad`}: dev, train if it is needed, and the file for the threshold."""
    kinds = ['train', 'dev'] if options.trains or options.only_calibration else ['dev']
    squads = {}
    for kind in kinds + (['threshold'] if options.threshold_file else []):
        logging.info('Loading %s data...', kind)
        path = getattr(options, kind + '_file') or locate_squad(kind, options.version_2,
                                                                options.data_dir)
        squad = read_squad(path, options.version_2)
        for line in describe_problems(squad):
            logging.warning(line)
        squads[kind] = _select_questions(options, kind, squad)
        logging.info('Number of records in %s data:%d', kind.capitalize(),
                     len(squads[kind].questions))
    _check_threshold_file(options, squads)
    return squads


def _select_questions(options, kind, squad):
    """The questions that the run uses. Raises `UserError` for a file unfit for its kind."""
    if kind != 'dev' and not squad.has_labels:
        raise UserError('%s: its questions have no "answers": they can\'t be used for '
                        'training' % squad.path)
    if kind == 'train':
        squad = squad.select_trainable()
        if not squad.questions:
            raise UserError('%s: no question in it can be used for training' % squad.path)
    else:
        check_unique_ids(squad)
    if kind == 'dev' and options.evaluate_epochs and not squad.has_labels:
        raise UserError('%s: its questions have no "answers": leave --evaluate_epochs and '
                        '--early_stop out' % squad.path)
    limit = options.max_train_samples if kind == 'train' else options.max_eval_samples
    return squad.select(subsample(range(len(squad.questions)), limit))


def _check_threshold_file(options, squads):
    """Raises `UserError` if dev and --threshold_file share questions: the threshold must not be
    chosen on the questions that it is scored on."""
    if 'threshold' not in squads:
        return
    shared = {q.id for q in squads['dev'].questions} & \
        {q.id for q in squads['threshold'].questions}
    if shared:
        raise UserError('--threshold_file %s: %d of its questions are also in %s, such as "%s": '
                        'choose the threshold on questions that are not scored'
                        % (options.threshold_file, len(shared), squads['dev'].path,
                           sorted(shared)[0]))


def cut_windows(kind, squad, model):
    """The `SquadData` of a file, for a `QuestionAnswerer`."""
    start_time = time.time()
    windows, path, is_cached = load_windows(squad, model.tokenizer, model.options)
    logging.info('The number of examples after preprocessing:%d', len(windows))
    logging.info('Done! Transform dataset costs %.2f seconds.', time.time() - start_time)
    if path:
        logging.info('features of %s: %s %s', kind, 'read from' if is_cached else 'kept in', path)
    return SquadData(squad, windows)


def write_squad_audit(folder, data, max_seq_length, is_first_worker):
    """Log what is in the data, {kind: `SquadData`}, and write it to audit.json."""
    report = {'max_seq_length': max_seq_length, 'segments': {
        kind: describe_data(squad_data) for kind, squad_data in data.items()}}
    for kind, values in report['segments'].items():
        logging.info('%s: %d questions on %d contexts of %s; %d windows (tokens: %s); %d questions '
                     'need several windows, %d are cut at --max_query_length; %d answers fit into '
                     'no window', kind,
                     values['questions'], values['contexts'], values['file'],
                     values['windows'],
                     ', '.join('%s %d' % item for item in values['token_length'].items()),
                     values['questions_in_several_windows'], values['questions_cut'],
                     values['answers_in_no_window'])
    if is_first_worker:
        files.write_json(os.path.join(folder, file_names.AUDIT_FILE), report)


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
