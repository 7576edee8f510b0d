"""The data of a classifier's run: its segments, read, sampled, tokenized and audited."""
import dataclasses
import hashlib
import logging
import os

from bert import file_names, files
from bert.data.batches import subsample
from bert.data.glue.audit import audit, describe_audit
from bert.data.glue.download import locate_task
from bert.data.text.readers import read_examples
from bert.errors import UserError
from bert.jobs.finetuning.task_from_options import has_own_files


@dataclasses.dataclass
class SegmentData:
    """One segment: its examples and their features, in the order of the file."""
    path: str
    examples: list
    features: list

    @property
    def lengths(self):
        return [feature.valid_length for feature in self.features]

    def subset(self, rows):
        return SegmentData(self.path, [self.examples[i] for i in rows],
                           [self.features[i] for i in rows])

    @property
    def digest(self):
        """sha256 of the tokens and labels."""
        total = hashlib.sha256()
        for feature in self.features:
            total.update(feature.token_ids.tobytes() + b'|' + feature.label.tobytes())
        return total.hexdigest()


def read_segments(options, task):
    """({segment: (path, examples)}, rejected rows) of the segments that the run needs. Raises
    `UserError`."""
    paths = ({name: segment.file for name, segment in task.segments.items()}
             if has_own_files(options) else locate_task(task, options.data_dir))
    kinds = ('train', 'dev', 'test') if options.trains else ('dev', 'test')
    kinds = ('train', 'dev') if options.only_calibration else kinds
    label_encoder = task.label_encoder()
    limits = {'train': options.max_train_samples, 'dev': options.max_eval_samples}
    examples, rejected_rows = {}, []
    for name in [name for kind in kinds for name in task.names(kind) if name in paths]:
        segment = task.segments[name]
        # a submission counts the rows of its file: none may be missing
        skip_bad_rows = (task.skip_bad_rows or options.skip_bad_rows) and not segment.submission
        segment_examples, bad_rows = read_examples(
            paths[name], segment.table, label_encoder if segment.has_labels else None,
            skip_bad_rows)
        examples[name] = (paths[name], subsample(segment_examples,
                                                 limits.get(name.split('_')[0])))
        rejected_rows += bad_rows
    for name in task.segments:
        if name not in paths:
            logging.info('no file for the segment %s', name)
    _check_kinds(options, task, examples, paths)
    return examples, rejected_rows


def _check_kinds(options, task, examples, paths):
    """Raises `UserError` unless there are train and dev, or, for inference, any segment."""
    missing_kinds = [kind for kind in ('train', 'dev')
                     if not any(name.startswith(kind) for name in examples)]
    if not options.trains and not options.only_calibration:
        missing_kinds = [] if examples else ['dev or test']
    if missing_kinds:
        raise UserError('%s: no %s file among %s'
                        % (task.name, missing_kinds[0], ', '.join(paths.values())))


def featurize_segments(examples, task, model):
    """{segment: `SegmentData`} of what `read_segments` gives, for a `Classifier`."""
    label_encoder = task.label_encoder()
    return {name: SegmentData(path, segment_examples, model.featurize(
        segment_examples,
        label_encoder if task.segments[name].has_labels else None))
        for name, (path, segment_examples) in examples.items()}


def write_audit(folder, task, data, rejected_rows, max_len, is_first_worker):
    """Log the audit of the data, and write it to audit.json."""
    report = audit(task, {name: (segment.path, segment.examples, segment.features)
                          for name, segment in data.items()}, rejected_rows, max_len)
    for line in describe_audit(report):
        logging.info(line)
    if is_first_worker:
        files.write_json(os.path.join(folder, file_names.AUDIT_FILE), report)
