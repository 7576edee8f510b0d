"""Reads and validates SQuAD files, 1.1 and 2.0: contexts, questions, answers, problems.

The layout is that of https://rajpurkar.github.io/SQuAD-explorer (Rajpurkar et al. 2016 and 2018).
"""
import itertools
import json
from typing import NamedTuple

from bert.data.text.readers import parse_json_row, read_text
from bert.errors import UserError, is_unicode

TYPE_NAMES = {str: 'a text', list: 'a list', dict: 'a dictionary', int: 'a whole number',
              bool: 'true or false'}


class Question(NamedTuple):
    """One question. Several questions share a context."""
    id: str
    text: str
    context: int                    # index in `Squad.contexts`
    answers: tuple | None           # of (text, first character in the context); None: unknown
    is_impossible: bool             # 2.0: the context does not answer it


class Problem(NamedTuple):
    """A fault of a question that does not prevent reading the file."""
    question: int       # its index in the file; -1 for a fault of several questions
    id: str
    where: str          # the article, paragraph and question, counted from 1
    reason: str
    trainable: bool     # whether training can use the question nevertheless


class Squad(NamedTuple):
    """The content of a file."""
    path: str
    contexts: list[str]
    questions: list[Question]
    problems: list[Problem]

    @property
    def has_labels(self):
        """Whether all questions have known answers."""
        return all(question.answers is not None for question in self.questions)

    def answers(self):
        """{question id: [answer text, …]}; the list is empty if the context has no answer."""
        return {question.id: [text for text, _ in question.answers]
                for question in self.questions}

    def select(self, indices):
        """A copy with these questions only, in this order."""
        return self._replace(questions=[self.questions[i] for i in indices])

    def select_trainable(self):
        """A copy without the questions that training can't use; `problems` names them."""
        excluded = {problem.question for problem in self.problems if not problem.trainable}
        return self.select([i for i in range(len(self.questions)) if i not in excluded])


def read_squad(path, version_2=False):
    """Read and validate a SQuAD file.

    version_2: whether the file is SQuAD 2.0, where questions may have no answer; None accepts both
        versions.
    Returns `Squad`. Raises `UserError` with file and place for content that it can't read, and for
    a file of the other version.
    """
    contexts, questions, problems, keys = [], [], [], set()
    for context, entries in _read_paragraphs(path):
        contexts.append(context)
        for place, entry in entries:
            question = _question(path, place, entry, len(contexts) - 1)
            keys.update(entry)
            questions.append(question)
            problems += [Problem(len(questions) - 1, question.id, place, reason, trainable)
                         for reason, trainable in _find_problems(question, context)]
    if not questions:
        raise UserError('%s: no question in it' % path)
    problems += _find_repeated_ids(questions)
    squad = Squad(path, contexts, questions, problems)
    _check_answers_known(squad)
    _check_version(squad, version_2, keys)
    return squad


def _load(path):
    text = read_text(path)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        first_line, _, rest = text.partition('\n')
        if error.msg == 'Extra data' and error.pos > len(first_line) and rest:
            return [parse_json_row(path, line_number, line)
                    for line_number, line in enumerate(text.split('\n'), 1) if line.strip()]
        raise UserError('%s:%d:%d: not JSON: %s; expected a SQuAD file'
                        % (path, error.lineno, error.colno, error.msg)) from None
    except RecursionError:
        raise UserError('%s: nested too deeply for a SQuAD file' % path) from None
    except ValueError as error:     # a number of thousands of digits
        raise UserError('%s: not a SQuAD file: %s' % (path, error)) from None


def _read_paragraphs(path):
    """Iterator of (context, [(place, question as a dictionary)]) of a file in SQuAD's layout, or in
    the flat layout of the library `datasets`: one row a question."""
    content = _load(path)
    if isinstance(content, list) and content and isinstance(content[0], dict):
        return _flat_paragraphs(path, content)
    if isinstance(content, dict):
        rows = [content] if is_flat_row(content) else content.get('data')
        if isinstance(rows, list) and rows and is_flat_row(rows[0]):
            return _flat_paragraphs(path, rows)
    return _paragraphs(path, content)


def is_flat_row(row):
    return isinstance(row, dict) and 'context' in row and 'question' in row


def _flat_paragraphs(path, rows):
    """Consecutive rows on one context make a paragraph."""
    places = [('row %d' % i, row) for i, row in enumerate(rows, 1)]
    for place, row in places:
        _expect(path, place, row, dict)
    for context, group in itertools.groupby(
            places, lambda item: _get(path, item[0], item[1], 'context', str)):
        yield context, [(place, _with_listed_answers(path, place, row)) for place, row in group]


def _with_listed_answers(path, where, row):
    """A row with its answers as SQuAD has them: a list of {"text", "answer_start"}."""
    answers = row.get('answers')
    if answers is None:
        return {key: value for key, value in row.items() if key != 'answers'}
    if not isinstance(answers, dict):
        return row
    texts, starts = (_get(path, '"answers" of ' + where, answers, key, list)
                     for key in ('text', 'answer_start'))
    if len(texts) != len(starts):
        raise UserError('%s: "answers" of %s has %d texts and %d starts, expected as many starts '
                        'as texts'
                        % (path, where, len(texts), len(starts)))
    return dict(row, answers=[{'text': text, 'answer_start': start}
                              for text, start in zip(texts, starts)])


def _paragraphs(path, content):
    """The same for SQuAD's layout."""
    _expect(path, 'the file', content, dict)
    for i, article in enumerate(_get(path, 'the file', content, 'data', list), 1):
        where = 'article %d' % i
        _expect(path, where, article, dict)
        if isinstance(article.get('title'), str) and is_unicode(article['title']):
            where += ' "%s"' % article['title']
        for j, paragraph in enumerate(_get(path, where, article, 'paragraphs', list), 1):
            place = '%s, paragraph %d' % (where, j)
            _expect(path, place, paragraph, dict)
            yield _get(path, place, paragraph, 'context', str), [
                ('%s, question %d' % (place, i), entry) for i, entry in enumerate(
                    _get(path, place, paragraph, 'qas', list), 1)]


def _question(path, where, entry, context):
    _expect(path, where, entry, dict)
    answers = None
    if 'answers' in entry:
        answers = tuple(_answer(path, '%s, answer %d' % (where, i), answer) for i, answer in
                        enumerate(_get(path, where, entry, 'answers', list), 1))
    is_impossible = (_get(path, where, entry, 'is_impossible', bool) if 'is_impossible' in entry
                     else answers == ())
    return Question(_get(path, where, entry, 'id', str), _get(path, where, entry, 'question', str),
                    context, answers, is_impossible)


def _answer(path, where, answer):
    _expect(path, where, answer, dict)
    return (_get(path, where, answer, 'text', str), _get(path, where, answer, 'answer_start', int))


def _get(path, where, values, key, kind):
    """`values[key]`, which must be of type `kind`."""
    if key not in values:
        raise UserError('%s: %s has no "%s": expected %s' % (path, where, key, TYPE_NAMES[kind]))
    _expect(path, '"%s" of %s' % (key, where), values[key], kind)
    if kind is str and not is_unicode(values[key]):
        raise UserError('%s: "%s" of %s contains half a surrogate pair (\\ud800 to \\udfff '
                        'alone), which is not a character' % (path, key, where))
    return values[key]


def _expect(path, where, value, kind):
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        text = json.dumps(value, ensure_ascii=False)
        raise UserError('%s: %s is %s, expected %s' % (
            path, where, text if len(text) <= 40 else TYPE_NAMES.get(type(value), text[:40] + '…'),
            TYPE_NAMES[kind]))


# Validation


def _find_problems(question, context):
    """Yield (reason, whether training can use the question) for each fault of a question."""
    if not context.strip():
        yield 'the context is empty', False
    if not question.text.strip():
        yield 'the question is empty', True
    if question.is_impossible and question.answers:
        yield ('is_impossible is true, but the question has an answer. Training takes it as '
               'impossible, scoring uses the answer, as the official evaluator does', True)
    if question.answers == () and not question.is_impossible:
        yield 'the question has no answer, but is_impossible is false', False
    for i, (text, start) in enumerate(question.answers or ()):
        if not text.strip():
            yield 'answer %d is empty' % (i + 1), i > 0
        elif start < 0 or context[start:start + len(text)] != text:
            # training uses the first answer only; scoring compares texts only
            yield ('answer %d, "%s", is not at its answer_start %d' % (i + 1, _short(text), start),
                   i > 0 or question.is_impossible)


def _short(text):
    return text if len(text) <= 40 else text[:40] + '…'


def _find_repeated_ids(questions):
    """A `Problem` for each id that occurs twice or more."""
    counts = {}
    for question in questions:
        counts[question.id] = counts.get(question.id, 0) + 1
    return [Problem(-1, question_id, 'the file', 'the id occurs %d times' % count, True)
            for question_id, count in counts.items() if count > 1]


def check_unique_ids(squad):
    """Raises `UserError` when ids are repeated: predictions are stored by id."""
    repeated = [problem for problem in squad.problems if problem.question < 0]
    if repeated:
        raise UserError('%s: %d question ids occur more than once, the first is "%s": give each '
                        'question its own id, because predictions are stored by id'
                        % (squad.path, len(repeated), repeated[0].id))


def _check_answers_known(squad):
    """Raises `UserError` when only some of the questions have known answers."""
    unknown = [question for question in squad.questions if question.answers is None]
    if unknown and len(unknown) < len(squad.questions):
        raise UserError('%s: question "%s" has no "answers", but others have: expected a list, '
                        'empty if there is no answer' % (squad.path, unknown[0].id))


def _check_version(squad, version_2, keys):
    """Raises `UserError` when the file is of the other version."""
    num_impossible = sum(question.is_impossible for question in squad.questions)
    if version_2 is None:
        return
    num_unanswered = sum(question.is_impossible or question.answers == ()
                         for question in squad.questions)
    if num_unanswered and not version_2:
        raise UserError('%s: %d of its %d questions have no answer, as in SQuAD 2.0: add '
                        '--version_2' % (squad.path, num_unanswered, len(squad.questions)))
    if version_2 and not num_impossible and 'is_impossible' not in keys and squad.has_labels:
        raise UserError('%s: no question has "is_impossible" and all have answers, as in SQuAD '
                        '1.1: leave --version_2 out' % squad.path)


def describe_problems(squad, max_lines=5):
    """Lines of text for the user; no lines without problems."""
    if not squad.problems:
        return []
    num_excluded = len({problem.question for problem in squad.problems
                        if not problem.trainable})
    lines = ['%s: %d problems, %d questions can\'t be used for training'
             % (squad.path, len(squad.problems), num_excluded)]
    lines += ['  %s (%s): %s' % (problem.id, problem.where, problem.reason)
              for problem in squad.problems[:max_lines]]
    if len(squad.problems) > max_lines:
        lines.append('  … and %d more in audit.json' % (len(squad.problems) - max_lines))
    return lines
