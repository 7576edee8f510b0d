"""Scores of a predictions.json, without a model."""
import json

from bert import files
from bert.data.squad.files import check_unique, read_squad
from bert.data.squad.metric import evaluate_v2
from bert.errors import UserError


def run(args):
    """Print the scores as the parsed flags of evaluate-v2.0.py say; returns them."""
    squad = read_squad(args.data_file, version_2=None)
    if not squad.labelled:
        raise UserError('%s: its questions have no "answers": there is nothing to compare with'
                        % args.data_file)
    check_unique(squad)
    names = [question.id for question in squad.questions]
    predictions = _read(args.pred_file, names, str, 'a text')
    odds = None
    if args.na_prob_file:
        odds = _read(args.na_prob_file, names, (int, float), 'a number')
    scores = evaluate_v2(squad.answers(), predictions, odds, args.na_prob_thresh)
    if args.out_file:
        files.write_json(args.out_file, scores)
    else:
        print(json.dumps(scores, indent=2))
    return scores


def _read(path, names, kind, expected):
    """{question id: value} of a file; `UserError` when a question is missing or a value odd."""
    values = files.read_json(path)
    missing = [name for name in names if name not in values]
    if missing:
        raise UserError('%s: nothing for %d of %d questions, the first is "%s": predict them too'
                        % (path, len(missing), len(names), missing[0]))
    for name in names:
        value = values[name]
        if not isinstance(value, kind) or isinstance(value, bool) or value != value:
            raise UserError('%s: "%s" is %s, expected %s'
                            % (path, name, json.dumps(value, ensure_ascii=False), expected))
    return {name: values[name] for name in names}
