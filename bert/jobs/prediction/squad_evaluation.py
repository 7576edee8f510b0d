"""Scores a predictions.json of SQuAD, without a model."""
import json
import sys

from bert import files
from bert.data.squad.files import check_unique_ids, read_squad
from bert.data.squad.metric import evaluate_v2
from bert.errors import UserError
from bert.jobs.runs.results import JobResult


def evaluate_predictions(options, explicit):
    """Print the scores, or write them to --out_file. Returns a `JobResult`. Raises `UserError`."""
    for path in (options.data_file, options.pred_file, options.na_prob_file):
        if options.out_file:
            files.check_not_input(options.out_file, path, '--out-file')
    squad = read_squad(options.data_file, version_2=None)
    if not squad.has_labels:
        raise UserError('%s: its questions have no "answers": there is nothing to compare with'
                        % options.data_file)
    check_unique_ids(squad)
    ids = [question.id for question in squad.questions]
    predictions = _read_values(options.pred_file, ids, str, 'a text')
    null_odds = None
    if options.na_prob_file:
        null_odds = _read_values(options.na_prob_file, ids, (int, float), 'a number')
    scores = evaluate_v2(squad.answers(), predictions, null_odds, options.na_prob_thresh)
    if options.out_file:
        files.write_json(options.out_file, scores)
    else:
        print(json.dumps(files.replace_nonfinite(scores), indent=2, allow_nan=False))
    return JobResult({'metrics': {'dev': scores}})


def _read_values(path, ids, value_type, expected):
    """{question id: value} of a file. Raises `UserError` if a question is missing, or a value is
    not of `value_type` or is no finite number."""
    values = files.read_json(path)
    missing = [name for name in ids if name not in values]
    if missing:
        raise UserError('%s: no value for %d of %d questions, the first is "%s": predict them too'
                        % (path, len(missing), len(ids), missing[0]))
    for name in ids:
        value = values[name]
        is_number = isinstance(value, (int, float))
        if not isinstance(value, value_type) or isinstance(value, bool) or \
                is_number and not abs(value) <= sys.float_info.max:
            raise UserError('%s: "%s" is %s, expected %s'
                            % (path, name, json.dumps(value, ensure_ascii=False), expected))
    return {name: values[name] for name in ids}
