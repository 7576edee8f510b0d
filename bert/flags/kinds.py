"""Kinds of values: each reads a word of the command line, and accepts a value from Python.

A kind is called with a text, as argparse's `type`, and has `accept(value)` for a value that a
program gives. Both return the value of the option, or raise `argparse.ArgumentTypeError`.
"""
import argparse
import math
import numbers
import os
from collections.abc import Iterable

from bert.errors import NOT_UNICODE, is_unicode

MAX_INT = 2 ** 63 - 1       # of NumPy and MXNet
MAX_THREADS = 4096          # more than any machine has that MXNet runs on


class Text:
    """A text, or a path. may_be_empty: without it, an empty text is an error: most often it comes
    from a shell's variable that is not set."""

    def __init__(self, may_be_empty=False):
        self._may_be_empty = may_be_empty

    def __call__(self, text):
        if not text and not self._may_be_empty:
            raise argparse.ArgumentTypeError('an empty text found, expected a value')
        return text

    def accept(self, value):
        if not isinstance(value, (str, os.PathLike)):
            raise argparse.ArgumentTypeError('%r found, expected a text' % (value,))
        text = os.fsdecode(value)
        if not is_unicode(text):
            raise argparse.ArgumentTypeError('%a: %s' % (text, NOT_UNICODE))
        if '\0' in text:
            raise argparse.ArgumentTypeError('%a: it holds the character NUL' % text)
        return self(str(text))


class Number:
    """An int or float (`kind`) from `low` to `high`, greater than `above` and less than `below`.
    expected: this range in words, for the error message. largest: the largest int that is usable.
    """

    def __init__(self, kind, expected, low=-math.inf, high=math.inf, above=-math.inf,
                 below=math.inf, largest=MAX_INT):
        self._kind, self._expected, self._largest = kind, expected, largest
        self._low, self._high, self._above, self._below = low, high, above, below

    def __call__(self, text):
        return self._check(text, text)

    def accept(self, value):
        is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
        is_whole = isinstance(value, numbers.Integral)
        if is_number and (is_whole or self._kind is float):
            return self._check(value, value)
        is_numeric_text = isinstance(value, str) and value.replace('.', '', 1).strip().isdecimal()
        return self._check(repr(value) if is_numeric_text else value, '')

    def _check(self, shown, value):
        try:
            number = self._kind(value)
            is_usable = math.isfinite(number)
        except (ValueError, OverflowError):
            is_usable = False
        if is_usable and self._kind is int and abs(number) > self._largest:
            raise argparse.ArgumentTypeError('%s found, expected at most %d'
                                             % (shown, self._largest))
        if not (is_usable and self._low <= number <= self._high
                and self._above < number < self._below):
            raise argparse.ArgumentTypeError('%s found, expected %s' % (shown, self._expected))
        return number


class TextList:
    """Texts with commas between them, or a sequence of texts: a tuple of texts."""

    def __call__(self, text):
        return tuple(part.strip() for part in text.split(','))

    def accept(self, value):
        if isinstance(value, str):
            return self(value)
        parts = tuple(value) if isinstance(value, Iterable) else (None,)
        if not all(isinstance(part, str) for part in parts):
            raise argparse.ArgumentTypeError('%r found, expected a list of texts' % (value,))
        return tuple(map(text.accept, parts))


class WholeNumberList:
    """Whole numbers from `low` on with commas between them, or a sequence of them: a tuple."""

    def __init__(self, expected, low=0, distinct=False):
        self._expected, self._low, self._distinct = expected, low, distinct

    def __call__(self, text):
        parts = [part.strip() for part in text.split(',')]
        if not all(part.isdecimal() and int(part) >= self._low for part in parts) or \
                self._distinct and len(set(parts)) != len(parts):
            raise argparse.ArgumentTypeError('%s found, expected %s with commas between them'
                                             % (text, self._expected))
        return tuple(map(int, parts))

    def accept(self, value):
        is_list = isinstance(value, Iterable) and not isinstance(value, str)
        return self(','.join(map(str, value)) if is_list else str(value))


text = Text()
any_text = Text(may_be_empty=True)
whole_number = Number(int, 'a whole number')
positive_int = Number(int, 'a whole number from 1 on', low=1)
number = Number(float, 'a number')
thread_count = Number(int, 'a whole number from 1 on', low=1, largest=MAX_THREADS)
port = Number(int, 'a whole number from 0 to 65535', low=0, high=65535)
positive_float = Number(float, 'a number above 0', above=0)
nonnegative_float = Number(float, 'a number from 0 on', low=0)
ratio = Number(float, 'a number from 0 to 1', low=0, high=1)
probability = Number(float, 'a number above 0 and below 1', above=0, below=1)
dropout_rate = Number(float, 'a number from 0 to below 1', low=0, below=1)
text_list = TextList()
positive_int_list = WholeNumberList('whole numbers from 1 on', low=1)
distinct_int_list = WholeNumberList('different whole numbers from 0 on', distinct=True)
