"""Answers questions on documents of the user: from arguments, files or standard input."""
import json
import sys
from typing import NamedTuple

from bert.data.text.readers import (
    decode_lines,
    decode_utf8,
    read_json_rows,
    read_lines,
    read_text,
)
from bert.errors import NOT_UNICODE, UserError, is_unicode
from bert.jobs.prediction.classification import STANDARD_INPUT, check_output_file, open_output
from bert.jobs.runs.results import JobResult
from bert.model.bert import set_compute_dtype
from bert.pipelines.question_answering import open_question_answerer
from bert.pipelines.records import TextCounts
from bert.streams import binary_input
from bert.train.devices import pick_device
from bert.train.log import progress_bar

PASSAGE_MARGIN = 80         # characters of a passage on either side of the answer …
MARGIN_SLACK = 20           # … or up to this number fewer, to end at a space
COLUMNS = ('id', 'question', 'probability', 'answer', 'document', 'start', 'end', 'passage')
NO_ANSWER = '[no answer]'


class Query(NamedTuple):
    """One question on one or more documents."""
    id: str | None      # None for the question of the command line
    question: str
    names: tuple        # of the documents, as the answers refer to them
    documents: tuple    # their texts
    where: str          # the place of the question, for errors


def predict_answers(options, explicit):
    """Write answers. Returns a `JobResult`. Raises `UserError`."""
    device = pick_device(options.gpu, options.dtype)
    check_output_file(options)
    sources = QuestionSources(options.question, options.documents, options.file, options.jsonl)
    sources.check()
    model = open_question_answerer(options.model_dir, device)
    set_compute_dtype(model.network, options.dtype)
    return JobResult({'questions': write_answers(model, options, sources)})


class QuestionSources(NamedTuple):
    """Where questions and documents come from; see the flags of answer.py."""
    question: str | None
    documents: tuple
    file: tuple | None
    jsonl: str | None

    def check(self):
        """Raises `UserError` unless there is one source of questions, and at most one of
        documents."""
        flags = [flag for flag, value in (('--jsonl', self.jsonl), ('a question', self.question))
                 if value is not None]
        if len(flags) != 1:
            raise UserError('give a question, or --jsonl with questions%s' % (
                ', not both' if flags else '; put the question before --file: all arguments after '
                '--file are files' if self.file else ''))
        if self.jsonl is not None and self.file:
            raise UserError('--jsonl has its own documents: leave --file out')
        if self.file and self.documents:
            raise UserError('give documents as arguments or with --file, not both')


def write_answers(model, options, sources):
    """Write the answers with an open `QuestionAnswerer`. Returns the number of questions."""
    apply_answer_options(model, options)
    queries, counts = read_queries(sources), TextCounts()
    with open_output(options.output) as out, progress_bar(len(queries), unit='question') as bar:
        if options.format == 'tsv':
            out.write('\t'.join(_columns(queries[0])) + '\n')
        results = model.stream(((query.question, query.documents) for query in queries),
                               options.top_k, counts)
        for query, result in zip(queries, results):
            out.write(format_answers(query, describe_result(query, result), options.format))
            bar.update(1)
    if counts.num_cut:
        print('warning: %d of %d questions were cut at %d tokens'
              % (counts.num_cut, counts.num_texts, model.options.max_query_length),
              file=sys.stderr)
    return len(queries)


def apply_answer_options(model, options):
    """Replace values of the model's task by those of the options."""
    for name in ('null_score_diff_threshold', 'max_answer_length'):
        if getattr(options, name) is not None:
            model.task[name] = getattr(options, name)
    model.task['version_2'] = bool(model.task['version_2'] or options.version_2)
    if options.null_score_diff_threshold is not None and not model.task['version_2']:
        raise UserError('--null_score_diff_threshold: the model was trained on SQuAD 1.1 and '
                        'always answers; give --version_2 if that is wrong')
    model.batch_size = options.batch_size


# Questions and documents


def read_queries(sources):
    """The `Query`s of `QuestionSources`. Raises `UserError` naming what is empty or malformed."""
    if sources.jsonl is not None:
        queries = [_query_from_row(sources.jsonl, line_number, row)
                   for line_number, row in _read_jsonl(sources.jsonl)]
        if not queries:
            raise UserError('%s: no question in it' % sources.jsonl)
        return queries
    if sources.documents:
        names = tuple('document %d' % i for i in range(1, len(sources.documents) + 1))
        texts = tuple(sources.documents)
    else:
        names = tuple(sources.file or ['-'])
        texts = tuple(_read_document(name, sources.file) for name in names)
    return [_check_query(Query(None, sources.question, names, texts, 'arguments'))]


def _read_jsonl(path):
    """`read_json_rows` of a file; '-' is standard input."""
    if path == '-':
        return read_json_rows(STANDARD_INPUT, decode_lines(binary_input(), STANDARD_INPUT))
    return read_json_rows(path, read_lines(path))


def _read_document(name, file_flag):
    """The text of one file, unchanged, so that an answer's characters are positions in the file.
    '-' is standard input, also the default without --file."""
    if name != '-':
        return read_text(name)
    if not file_flag and sys.stdin and sys.stdin.isatty():
        raise UserError('no document: give it as an argument, with --file, or on standard input')
    return decode_utf8(binary_input().read(), STANDARD_INPUT)


def _query_from_row(path, line_number, row):
    where = '%s:%d' % (STANDARD_INPUT if path == '-' else path, line_number)
    if 'document' in row and 'documents' in row:
        raise UserError('%s: "document" and "documents": give one of the two' % where)
    documents = row['documents'] if 'documents' in row else [row.get('document')]
    if not isinstance(documents, list) or not all(isinstance(text, str) for text in documents):
        raise UserError('%s: "document" must be a text, or "documents" a list of texts' % where)
    if not isinstance(row.get('question'), str):
        raise UserError('%s: "question" must be a text' % where)
    names = tuple('document %d' % i for i in range(1, len(documents) + 1))
    name = row.get('id')
    if not is_unicode(str(name)):
        raise UserError('%s: %s, in the id' % (where, NOT_UNICODE))
    return _check_query(Query(str(line_number if name is None else name), row['question'], names,
                              tuple(documents), where))


def _check_query(query):
    """Returns the query. Raises `UserError` if a text of it is missing, empty or not Unicode."""
    if not query.question.strip():
        raise UserError('%s: the question is empty' % query.where)
    if not query.documents:
        raise UserError('%s: no document' % query.where)
    for text in (query.question,) + query.documents:
        if not is_unicode(text):
            raise UserError('%s: %s, in a text' % (query.where, NOT_UNICODE))
    for name, text in zip(query.names, query.documents):
        if not text.strip():
            raise UserError('%s: %s is empty' % (query.where,
                                                 STANDARD_INPUT if name == '-' else name))
    return query


# Answers


def describe_result(query, result):
    """{'id', 'question', 'no_answer', 'answers': [{'text', 'document', 'start', 'end', 'passage',
    'probability'}], and 'no_answer_probability' for a 2.0 model} of a `QuestionResult`.

    start, end: characters of the document, `document[start:end] == text`.
    """
    values = {'question': query.question, 'no_answer': result.no_answer, 'answers': [
        {'text': answer.answer, 'document': query.names[answer.document], 'start': answer.start,
         'end': answer.end,
         'passage': passage(query.documents[answer.document], answer.start, answer.end),
         'probability': answer.probability} for answer in result.answers]}
    if query.id is not None:
        values = dict({'id': query.id}, **values)
    if result.no_answer_probability is not None:
        values['no_answer_probability'] = result.no_answer_probability
    return values


def passage(text, start, end):
    """The line with the answer; a long line is cut at spaces, with '…' where it is cut."""
    line_start = text.rfind('\n', 0, start) + 1
    line_end = text.find('\n', end)
    line_end = len(text) if line_end < 0 else line_end
    first, last = max(line_start, start - PASSAGE_MARGIN), min(line_end, end + PASSAGE_MARGIN)
    if first > line_start:
        first = text.find(' ', first, min(first + MARGIN_SLACK, start)) + 1 or first
    if last < line_end:
        space = text.rfind(' ', max(last - MARGIN_SLACK, end), last)
        last = space if space >= 0 else last
    return ('…' if first > line_start else '') + text[first:last].strip() + \
        ('…' if last < line_end else '')


def _columns(query):
    """Columns of the table; a question of the command line has no id."""
    return COLUMNS[1:] if query.id is None else COLUMNS


def format_answers(query, result, output_format):
    """Lines: JSON, or tab-separated with tabs and line ends replaced by spaces."""
    if output_format == 'jsonl':
        return json.dumps(result, ensure_ascii=False, allow_nan=False) + '\n'
    rows = []
    if result['no_answer']:
        probability = result.get('no_answer_probability')
        rows.append((query.id, query.question,
                     '' if probability is None else '%.4f' % probability, NO_ANSWER, '', '', '',
                     ''))
    else:
        rows = [(query.id, query.question, '%.4f' % answer['probability'], answer['text'],
                 answer['document'], answer['start'], answer['end'], answer['passage'])
                for answer in result['answers']]
    num_columns = len(_columns(query))
    return ''.join('\t'.join(' '.join(str(value).split()) for value in row[-num_columns:]) + '\n'
                   for row in rows)
