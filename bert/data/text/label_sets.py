"""Rows with a set of labels: none, one or several."""
import json
from typing import NamedTuple

from bert.errors import NOT_UNICODE, UserError, is_unicode


class LabelSetColumns(NamedTuple):
    """The columns that hold the labels of a row.

    columns: one column of labels with `separator` between them, in JSON lines a list; or, without a
    separator, columns of 0 and 1, whose names are the labels.
    """
    columns: tuple[str, ...]
    separator: str | None = None

    def read(self, place, values, is_json):
        """The labels of a row, a tuple. Raises `UserError`.

        place: 'file:line', for errors. values: those of `columns`, texts; with is_json any value.
        """
        if self.separator is None:
            return tuple(name for name, value in zip(self.columns, values)
                         if _is_set(place, name, value))
        labels = _list_labels(place, self.columns[0], values[0]) if is_json else [
            label.strip() for label in values[0].split(self.separator)]
        if not is_json and labels == ['']:
            return ()
        for label in labels:
            self._check(place, label)
            if labels.count(label) > 1:
                raise UserError('%s: the label "%s" occurs %d times, expected once'
                                % (place, label, labels.count(label)))
        return tuple(labels)

    def _check(self, place, label):
        if not label.strip():
            raise UserError('%s: a label is empty' % place)
        if not is_unicode(label):
            raise UserError('%s: %s, in a label' % (place, NOT_UNICODE))
        if self.separator in label:
            raise UserError('%s: the label "%s" contains the separator "%s": rename the label, '
                            'or choose another --label_separator' % (place, label, self.separator))


def _is_set(place, name, value):
    text = str(value).strip()
    if text not in ('0', '1'):
        raise UserError('%s: "%s" is "%s", expected 0 or 1' % (place, name, text[:40]))
    return text == '1'


def _list_labels(place, column, value):
    if not isinstance(value, list) or not all(isinstance(label, str) for label in value):
        raise UserError('%s: "%s" is %s, expected a list of texts'
                        % (place, column, json.dumps(value)[:40]))
    return value
