"""SQuAD files, 1.1 and 2.0: contexts, questions, answers, and what is wrong with them.

The layout is that of https://rajpurkar.github.io/SQuAD-explorer (Rajpurkar et al. 2016 and 2018).
"""
import json
from typing import NamedTuple

from bert.data.text.readers import is_text
from bert.errors import UserError

KINDS = {str: 'a text', list: 'a list', dict: 'a dictionary', int: 'a whole number',
         bool: 'true or false'}


class Question(NamedTuple):
    """One question. Several share a context."""
    id: str
    text: str
    context: int                    # index in `Squad.contexts`
    answers: tuple | None        # of (text, first character in the context); None: not told
    is_impossible: bool             # 2.0: the context does not answer it


class Problem(NamedTuple):
    """Something wrong with a question that does not keep the file from being read."""
    question: int       # its index in the file, -1 for what concerns several
    id: str
    where: str          # which article, paragraph and question, counted from 1
    reason: str
    trainable: bool     # whether the question can be trained on all the same


class Squad(NamedTuple):
    """What a file holds."""
    path: str
    contexts: list[str]
    questions: list[Question]
    problems: list[Problem]

    @property
    def labelled(self):
        """Whether the answers are told."""
        return all(question.answers is not None for question in self.questions)

    def answers(self):
        """{question id: [answer text, …]}, empty where the context has none."""
        return {question.id: [text for text, _ in question.answers]
                for question in self.questions}

    def select(self, indices):
        """The same with these questions only, in this order."""
        return self._replace(questions=[self.questions[i] for i in indices])

    def trainable(self):
        """The same without the questions that can't be trained on; `problems` names them."""
        bad = {problem.question for problem in self.problems if not problem.trainable}
        return self.select([i for i in range(len(self.questions)) if i not in bad])


def read_squad(path, version_2=False):
    """Read and validate a SQuAD file.

    version_2: whether it is one of SQuAD 2.0, in which questions may have no answer; None for
        either.
    Returns `Squad`. Raises `UserError` naming file and place for what can't be read, and for a
    file of the other version.
    """
    contexts, questions, problems, keys = [], [], [], set()
    for where, context, qas in _paragraphs(path, _load(path)):
        contexts.append(context)
        for number, entry in enumerate(qas, 1):
            place = '%s, question %d' % (where, number)
            question = _question(path, place, entry, len(contexts) - 1)
            keys.update(entry)
            questions.append(question)
            problems += [Problem(len(questions) - 1, question.id, place, reason, trainable)
                         for reason, trainable in _check(question, context)]
    if not questions:
        raise UserError('%s: no question in it' % path)
    problems += _check_ids(questions)
    squad = Squad(path, contexts, questions, problems)
    _check_answers_told(squad)
    _check_version(squad, version_2, keys)
    return squad


def _load(path):
    try:
        with open(path, encoding='utf-8-sig') as file:
            return json.load(file)
    except OSError as error:
        raise UserError('%s: can\'t be read: %s' % (path, error.strerror)) from None
    except json.JSONDecodeError as error:
        raise UserError('%s:%d:%d: not JSON: %s; expected a SQuAD file'
                        % (path, error.lineno, error.colno, error.msg)) from None
    except UnicodeDecodeError as error:
        raise UserError('%s: not UTF-8 at byte %d: save the file as UTF-8'
                        % (path, error.start)) from None
    except RecursionError:
        raise UserError('%s: nested too deeply for a SQuAD file' % path) from None
    except ValueError as error:     # a number of thousands of digits
        raise UserError('%s: not a SQuAD file: %s' % (path, error)) from None


def _paragraphs(path, content):
    """Yield (where, context, its questions)."""
    _expect(path, 'the file', content, dict)
    for i, article in enumerate(_get(path, 'the file', content, 'data', list), 1):
        where = 'article %d' % i
        _expect(path, where, article, dict)
        if isinstance(article.get('title'), str) and is_text(article['title']):
            where += ' "%s"' % article['title']
        for j, paragraph in enumerate(_get(path, where, article, 'paragraphs', list), 1):
            place = '%s, paragraph %d' % (where, j)
            _expect(path, place, paragraph, dict)
            yield (place, _get(path, place, paragraph, 'context', str),
                   _get(path, place, paragraph, 'qas', list))


def _question(path, where, entry, context):
    _expect(path, where, entry, dict)
    answers = None
    if 'answers' in entry:
        answers = tuple(_answer(path, '%s, answer %d' % (where, i), answer) for i, answer in
                        enumerate(_get(path, where, entry, 'answers', list), 1))
    impossible = (_get(path, where, entry, 'is_impossible', bool) if 'is_impossible' in entry
                  else answers == ())
    return Question(_get(path, where, entry, 'id', str), _get(path, where, entry, 'question', str),
                    context, answers, impossible)


def _answer(path, where, answer):
    _expect(path, where, answer, dict)
    return (_get(path, where, answer, 'text', str), _get(path, where, answer, 'answer_start', int))


def _get(path, where, values, key, kind):
    """`values[key]`, which must be of type `kind`."""
    if key not in values:
        raise UserError('%s: %s has no "%s": expected %s' % (path, where, key, KINDS[kind]))
    _expect(path, '"%s" of %s' % (key, where), values[key], kind)
    if kind is str and not is_text(values[key]):
        raise UserError('%s: "%s" of %s holds half a surrogate pair (\\ud800 to \\udfff alone), '
                        'which is no character' % (path, key, where))
    return values[key]


def _expect(path, where, value, kind):
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        shown = json.dumps(value, ensure_ascii=False)
        raise UserError('%s: %s is %s, expected %s' % (
            path, where, shown if len(shown) <= 40 else KINDS.get(type(value), shown[:40] + '…'),
            KINDS[kind]))


# Validation


def _check(question, context):
    """Yield (reason, whether it can be trained on) for what is wrong with a question."""
    if not context.strip():
        yield 'its context is empty', False
    if not question.text.strip():
        yield 'the question is empty', True
    if question.is_impossible and question.answers:
        yield ('is_impossible, and it has an answer: training takes it as impossible, scoring goes '
               'by the answer, as the official evaluator does', True)
    if question.answers == () and not question.is_impossible:
        yield 'it has no answer, and is_impossible is false', False
    for i, (text, start) in enumerate(question.answers or ()):
        if not text.strip():
            yield 'answer %d is empty' % (i + 1), i > 0
        elif start < 0 or context[start:start + len(text)] != text:
            # training learns the first answer; scoring compares texts only
            yield ('answer %d, "%s", is not at its answer_start %d' % (i + 1, _short(text), start),
                   i > 0 or question.is_impossible)


def _short(text):
    return text if len(text) <= 40 else text[:40] + '…'


def _check_ids(questions):
    """A `Problem` for every id that stands twice or more."""
    counts = {}
    for question in questions:
        counts[question.id] = counts.get(question.id, 0) + 1
    return [Problem(-1, name, 'the file', 'its id stands %d times' % count, True)
            for name, count in counts.items() if count > 1]


def check_unique(squad):
    """Raises `UserError` when ids repeat: predictions are stored by id."""
    repeated = [problem for problem in squad.problems if problem.question < 0]
    if repeated:
        raise UserError('%s: %d question ids stand twice or more, the first is "%s": predictions '
                        'are stored by id: give each question its own'
                        % (squad.path, len(repeated), repeated[0].id))


def _check_answers_told(squad):
    untold = [question for question in squad.questions if question.answers is None]
    if untold and len(untold) < len(squad.questions):
        raise UserError('%s: question "%s" has no "answers", and others have: expected a list, '
                        'empty where there is no answer' % (squad.path, untold[0].id))


def _check_version(squad, version_2, keys):
    """Raises `UserError` when the file is of the other version."""
    impossible = sum(question.is_impossible for question in squad.questions)
    if version_2 is None:
        return
    unanswered = sum(question.is_impossible or question.answers == ()
                     for question in squad.questions)
    if unanswered and not version_2:
        raise UserError('%s: %d of its %d questions have no answer, as in SQuAD 2.0: add '
                        '--version_2' % (squad.path, unanswered, len(squad.questions)))
    if version_2 and not impossible and 'is_impossible' not in keys and squad.labelled:
        raise UserError('%s: no question has "is_impossible" and all have answers, as in SQuAD '
                        '1.1: leave --version_2 out' % squad.path)


def describe_problems(squad, shown=5):
    """Lines for people; none where nothing is wrong."""
    if not squad.problems:
        return []
    left_out = len({problem.question for problem in squad.problems if not problem.trainable})
    lines = ['%s: %d problems, %d questions can\'t be trained on'
             % (squad.path, len(squad.problems), left_out)]
    lines += ['  %s (%s): %s' % (problem.id, problem.where, problem.reason)
              for problem in squad.problems[:shown]]
    if len(squad.problems) > shown:
        lines.append('  … and %d more in audit.json' % (len(squad.problems) - shown))
    return lines
