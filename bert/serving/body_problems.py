"""What is wrong with the body of a request, in plain words: place, what was found, what was
expected."""
import itertools

import orjson

MAX_CAUSES = 3          # of a body, in a message
MAX_TEXT = 40           # characters of a text that a message repeats

# {type of a problem of pydantic: what was expected}; in braces a value of its context
EXPECTED = {
    'string_type': 'a text', 'int_type': 'a whole number', 'bool_type': 'true or false',
    'list_type': 'a list', 'literal_error': '{expected}',
    **dict.fromkeys(('dict_type', 'model_type', 'model_attributes_type'), 'an object'),
    'greater_than_equal': 'at least {ge}', 'less_than_equal': 'at most {le}',
    'string_too_long': 'at most {max_length} characters',
    'too_long': 'at most {max_length} values'}


def describe_body_problems(problems):
    """A line on the first causes of a refused body. problems: of pydantic."""
    unions = {}     # {place: problems}; all alternatives of a value make one cause
    for problem in problems:
        unions.setdefault(_place_of_union(problem['loc']), []).append(problem)
    causes = [_describe_cause(_furthest(group)) for group in unions.values()]
    more = len(causes) - MAX_CAUSES
    return '; '.join(causes[:MAX_CAUSES]) + ('; and %d more' % more if more > 0 else '')


def describe_value(value):
    """A value of JSON as a message repeats it: short, whatever it holds."""
    if isinstance(value, dict):
        return 'an object'
    if isinstance(value, list):
        return 'a list of %d value%s' % (len(value), '' if len(value) == 1 else 's') if value \
            else 'an empty list'
    if isinstance(value, str) and len(value) > MAX_TEXT:
        return 'a text of %d characters' % len(value)
    return orjson.dumps(value).decode()


def _is_alternative(part):
    """Whether a part of a problem's place is the name of an alternative, in words as `schemas` has
    them. All other parts are indices, and keys without spaces."""
    return isinstance(part, str) and ' ' in part


def _place_of_union(parts):
    return tuple(itertools.takewhile(lambda part: not _is_alternative(part), parts))


def _place(problem):
    return [part for part in problem['loc'] if not _is_alternative(part)]


def _furthest(problems):
    """The problems at the last place that any alternative has reached. An alternative ends at its
    first problem, so those that ended before did not mean this value."""
    def order(problem):
        return [(isinstance(part, int), part) for part in _place(problem)]
    last = max(map(order, problems))
    return [problem for problem in problems if order(problem) == last]


def _describe_cause(problems):
    """A line on the problems of one place."""
    problem = problems[0]
    if problem['type'] == 'json_invalid':
        return _describe_json_error(problem)
    if problem['type'] == 'model_attributes_type' and isinstance(problem['input'], bytes):
        return 'the body is not marked as JSON: expected the header Content-Type: application/json'
    place = ''.join('[%d]' % part if isinstance(part, int) else '.' + part
                    for part in _place(problem)[1:]).lstrip('.') or 'the body'
    if any(problem['type'] not in EXPECTED for problem in problems):
        return '%s: %s' % (place, problem['msg'])
    expected = list(dict.fromkeys(map(_describe_expected, problems)))
    return '%s: %s found, expected %s' % (
        place, describe_value(problem['input']),
        ' or '.join([', '.join(expected[:-1])] * (len(expected) > 1) + expected[-1:]))


def _describe_json_error(problem):
    message = problem['ctx']['error']
    if 'surrogate' in message:      # which half is missing, nobody needs to know
        message = 'half a surrogate pair'
    return 'the body is not JSON: %s at character %d' % (message, problem['loc'][-1])


def _describe_expected(problem):
    name = problem['loc'][-1]
    if _is_alternative(name) and problem['type'].endswith('_type'):
        return name
    return EXPECTED[problem['type']].format(**problem.get('ctx', {})).replace("'", '"')
