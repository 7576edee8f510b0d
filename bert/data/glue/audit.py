"""A report on the data of a task, made before training starts."""
import collections

import numpy as np

from bert.data.glue.labels import one_line
from bert.file_names import MULTI_LABEL
from bert.percentiles import MIN_VALUES, percentiles_of

REJECTED_SHOWN = 5


def audit(task, segments, rejected, max_length):
    """Make a report, ready for JSON.

    segments: {name: (path, examples, features)}, with one of `features` for each of `examples`.
    rejected: list of `RejectedRow`.
    """
    report = {'task': task.name, 'max_len': max_length, 'segments': {
        name: _segment_report(task, path, examples, features, max_length)
        for name, (path, examples, features) in segments.items()}}
    for name, (path, _, _) in segments.items():
        segment_rejected = [row for row in rejected if row.path == path]
        report['segments'][name]['rejected'] = [{'line': row.line, 'reason': row.reason}
                                                for row in segment_rejected]
    report['labels_missing_in_train'] = _missing_in_train(task, report['segments'])
    return report


def _segment_report(task, path, examples, features, max_length):
    lengths = np.array([feature.num_tokens for feature in features])
    percentiles = percentiles_of(lengths) if len(lengths) >= MIN_VALUES else {}
    report = {'file': path, 'rows': len(examples), 'truncated': int((lengths > max_length).sum()),
              'token_length': {'p%d' % p: int(value) for p, value in percentiles.items()}}
    report['token_length']['max'] = int(lengths.max())
    if examples[0].label is not None:
        labels = [feature.label for feature in features]
        report['labels'] = _label_report(task, labels)
        if task.kind == MULTI_LABEL:
            report['without_labels'] = sum(not label.any() for label in labels)
    return report


def _label_report(task, labels):
    if task.is_regression:
        # a cross-encoder learns shares of the highest score; the report has those of the files
        scores = np.array(labels, 'float64') * (task.max_score if task.is_ranking else 1)
        return {'min': float(scores.min()), 'mean': float(scores.mean()),
                'max': float(scores.max())}
    if task.kind == MULTI_LABEL:
        return {label: int(count) for label, count in zip(task.labels, np.sum(labels, axis=0))}
    counts = collections.Counter(int(label) for label in labels)
    return {label: counts[i] for i, label in enumerate(task.labels)}


def _missing_in_train(task, segments):
    if task.is_regression or 'train' not in segments:
        return []
    eval_labels = {label for name, segment in segments.items() if name != 'train'
                   for label, count in segment.get('labels', {}).items() if count}
    return sorted(label for label in eval_labels if not segments['train']['labels'][label])


def describe_audit(report):
    """The report as lines of text."""
    lines = []
    for name, segment in report['segments'].items():
        length = ', '.join('%s %d' % item for item in segment['token_length'].items())
        lines.append('%s: %d rows of %s' % (name, segment['rows'], segment['file']))
        if 'labels' in segment:
            template = '%s %.3g' if 'mean' in segment['labels'] else '%s: %d'
            lines.append('  labels: ' + ', '.join(template % (one_line(label), value) for
                                                  label, value in segment['labels'].items()))
        lines.append('  tokens: %s; --max_len %d truncates %d examples (%.1f %%)' % (
            length, report['max_len'], segment['truncated'],
            100 * segment['truncated'] / segment['rows']))
        lines += _describe_rejected(segment['rejected'])
    for name, segment in report['segments'].items():
        lines += _describe_problem(name, segment)
    if report['labels_missing_in_train']:
        lines.append('warning: train has no examples of these labels: %s'
                     % ', '.join(map(one_line, report['labels_missing_in_train'])))
    return lines


def _describe_problem(name, segment):
    """What is unusual in the labels of a segment: no lines, or one."""
    if 'without_labels' in segment:
        return ['warning: %s: %d of %d texts have no label' % (
            name, segment['without_labels'], segment['rows'])] if segment['without_labels'] else []
    found = [label for label, count in segment.get('labels', {}).items() if count]
    if name.startswith('train') or 'mean' in segment.get('labels', {}) or len(found) != 1:
        return []
    return ['warning: %s has one class only (%s): its scores say little'
            % (name, one_line(found[0]))]


def _describe_rejected(rejected):
    if not rejected:
        return []
    lines = ['  rejected rows: %d' % len(rejected)]
    lines += ['    %s' % row['reason'] for row in rejected[:REJECTED_SHOWN]]
    if len(rejected) > REJECTED_SHOWN:
        lines.append('    … and %d more in audit.json' % (len(rejected) - REJECTED_SHOWN))
    return lines
