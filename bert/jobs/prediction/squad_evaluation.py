"""Scores a predictions.json of SQuAD, without a model."""
import json

from bert import files
from bert.data.squad.files import check_unique_ids, read_squad
from bert.data.squad.metric import evaluate_v2
from bert.errors import UserError


def evaluate_predictions(args):
    """Do what the parsed flags of evaluate-v2.0.py say: print the scores, or write them to
    --out_file; returns them."""
    squad = read_squad(args.data_file, version_2=None)
    if not squad.has_labels:
        raise UserError('%s: its questions have no "answers": there is nothing to compare with'
                        % args.data_file)
    check_unique_ids(squad)
    names = [question.id for question in squad.questions]
    predictions = _read_values(args.pred_file, names, str, 'a text')
    null_odds = None
    if args.na_prob_file:
        null_odds = _read_values(args.na_prob_file, names, (int, float), 'a number')
    scores = evaluate_v2(squad.answers(), predictions, null_odds, args.na_prob_thresh)
    if args.out_file:
        files.write_json(args.out_file, scores)
    else:
        print(json.dumps(scores, indent=2))
    return scores


def _read_values(path, names, value_type, expected):
    """{question id: value} of a file. Raises `UserError` if a question is missing, or a value is
    not of `value_type` or is NaN."""
    values = files.read_json(path)
    missing = [name for name in names if name not in values]
    if missing:
        raise UserError('%s: nothing for %d of %d questions, the first is "%s": predict them too'
                        % (path, len(missing), len(names), missing[0]))
    for name in names:
        value = values[name]
        if not isinstance(value, value_type) or isinstance(value, bool) or value != value:
            raise UserError('%s: "%s" is %s, expected %s'
                            % (path, name, json.dumps(value, ensure_ascii=False), expected))
    return {name: values[name] for name in names}
