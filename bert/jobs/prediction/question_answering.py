"""Answers questions on documents of the user: from arguments, files or standard input."""
import json
import sys
from typing import NamedTuple

from bert.data.squad.files import Question, Squad
from bert.data.squad.spans import Answer, Span, n_best_entries
from bert.data.squad.windows import make_windows
from bert.data.text.readers import decode_utf8, is_encodable, parse_json_row, read_rows, read_text
from bert.errors import UserError
from bert.jobs.prediction.classification import check_output_file, open_output, read_standard_input
from bert.model.bert import set_compute_dtype
from bert.pipelines.question_answering import open_question_answerer
from bert.train.devices import pick_device
from bert.train.log import progress_bar

CHUNK = 256         # questions whose windows are sorted by length together; bounds the memory
PASSAGE_MARGIN = 80         # characters of a passage on either side of the answer …
MARGIN_SLACK = 20        # … or up to this number fewer, to end at a space
COLUMNS = ('id', 'question', 'probability', 'answer', 'document', 'start', 'end', 'passage')
NO_ANSWER = '[no answer]'


class Query(NamedTuple):
    """One question on one or more documents."""
    id: str | None      # None for the question of the command line
    question: str
    names: tuple        # of the documents, as the answers refer to them
    documents: tuple    # their texts
    where: str          # the place of the question, for errors


class DocumentSpan(NamedTuple):
    """A span of an `Answer`, with its document."""
    document: int       # index in `Query.documents`
    span: Span


def predict_answers(args):
    """Do what the parsed flags of answer.py say: write answers. Returns the number of questions."""
    device = pick_device(args.gpu, args.dtype)
    check_output_file(args)
    check_question_flags(args)
    model = open_question_answerer(args.model_dir, device)
    set_compute_dtype(model.network, args.dtype)
    return write_answers(model, args, device)


def write_answers(model, args, device):
    """Write the answers with an open `QuestionAnswerer`. Returns the number of questions."""
    apply_answer_flags(model, args)
    queries = read_queries(args)
    num_cut = 0
    with open_output(args.output) as out, progress_bar(len(queries), unit='question') as bar:
        if args.format == 'tsv':
            out.write('\t'.join(_columns(queries[0])) + '\n')
        for start in range(0, len(queries), CHUNK):
            chunk = queries[start:start + CHUNK]
            answers, cut_in_chunk = answer_queries(model, chunk, args.batch_size, device)
            num_cut += cut_in_chunk
            for query, answer in zip(chunk, answers):
                result = describe_answer(query, answer, model.task, args.top_k)
                out.write(format_answers(query, result, args.format))
            bar.update(len(chunk))
    if num_cut:
        print('warning: %d of %d questions were cut at %d tokens'
              % (num_cut, len(queries), model.options.max_query_length), file=sys.stderr)
    return len(queries)


def check_question_flags(args):
    """Raises `UserError` unless there is one source of questions, and at most one of documents."""
    flags = [flag for flag, value in (('--jsonl', args.jsonl), ('a question', args.question))
             if value is not None]
    if len(flags) != 1:
        raise UserError('give a question, or --jsonl with questions%s' % (
            ', not both' if flags else
            '; --file takes all that follows it: the question comes before' if args.file else ''))
    if args.jsonl is not None and args.file:
        raise UserError('--jsonl has its own documents: leave --file out')
    if args.file and args.documents:
        raise UserError('give documents as arguments or by --file, not both')


def apply_answer_flags(model, args):
    """Replace values of the model's task by those of the flags."""
    for name in ('null_score_diff_threshold', 'max_answer_length'):
        if getattr(args, name) is not None:
            model.task[name] = getattr(args, name)
    model.task['version_2'] = bool(model.task['version_2'] or args.version_2)
    model.task['n_best_size'] = max(model.task['n_best_size'], args.top_k)


# Questions and documents


def read_queries(args):
    """The `Query`s of the flags. Raises `UserError` naming what is empty or malformed."""
    if args.jsonl is not None:
        queries = [_query_from_row(args.jsonl, line_number, row)
                   for line_number, row in _read_jsonl(args.jsonl)]
        if not queries:
            raise UserError('%s: no question in it' % args.jsonl)
        return queries
    if args.documents:
        names = tuple('document %d' % i for i in range(1, len(args.documents) + 1))
        texts = tuple(args.documents)
    else:
        names = tuple(args.file or ['-'])
        texts = tuple(_read_document(name, args.file) for name in names)
    return [_check_query(Query(None, args.question, names, texts, 'arguments'))]


def _read_jsonl(path):
    """Yield (line number, dictionary) of a file; '-' is standard input."""
    if path == '-':
        for line_number, line in read_standard_input():
            if line.strip():
                yield line_number, parse_json_row('standard input', line_number, line)
    else:
        yield from read_rows(path, 'jsonl')


def _read_document(name, file_flag):
    """The text of one file, unchanged, so that an answer's characters are positions in the file.
    '-' is standard input, also the default without --file."""
    if name != '-':
        return read_text(name)
    if not file_flag and sys.stdin.isatty():
        raise UserError('no document: give it as an argument, by --file, or to standard input')
    return decode_utf8(sys.stdin.buffer.read(), 'standard input')


def _query_from_row(path, line_number, row):
    where = '%s:%d' % ('standard input' if path == '-' else path, line_number)
    if 'document' in row and 'documents' in row:
        raise UserError('%s: "document" and "documents": give one of the two' % where)
    documents = row['documents'] if 'documents' in row else [row.get('document')]
    if not isinstance(documents, list) or not all(isinstance(text, str) for text in documents):
        raise UserError('%s: "document" must be a text, or "documents" a list of texts' % where)
    if not isinstance(row.get('question'), str):
        raise UserError('%s: "question" must be a text' % where)
    names = tuple('document %d' % i for i in range(1, len(documents) + 1))
    name = row.get('id')
    return _check_query(Query(str(line_number if name is None else name), row['question'], names,
                              tuple(documents), where))


def _check_query(query):
    """Returns the query. Raises `UserError` if a text of it is missing, empty or not Unicode."""
    if not query.question.strip():
        raise UserError('%s: the question is empty' % query.where)
    if not query.documents:
        raise UserError('%s: no document' % query.where)
    for text in (query.question,) + query.documents:
        if not is_encodable(text):
            raise UserError('%s: half a surrogate pair, or bytes that are no UTF-8, in a text'
                            % query.where)
    for name, text in zip(query.names, query.documents):
        if not text.strip():
            raise UserError('%s: %s is empty' % (query.where,
                                                 'standard input' if name == '-' else name))
    return query


# Answers


def answer_queries(model, queries, batch_size, device):
    """([`Answer`] with `DocumentSpan`s as spans, one per query over all its documents; number of
    questions that were cut)."""
    contexts = {}       # text → index: a document is tokenized only once
    questions = [Question('', query.question, contexts.setdefault(text, len(contexts)), (), False)
                 for query in queries for text in query.documents]
    squad = Squad('', list(contexts), questions, [])
    windows = make_windows(squad, model.tokenizer, model.options)
    answers = iter(model.find_answers(squad, windows, batch_size, device))
    merged = [merge_answers([next(answers) for _ in query.documents]) for query in queries]
    num_cut, question_index = 0, 0
    for query in queries:
        num_cut += windows.question_cut[question_index] > 0
        question_index += len(query.documents)
    return merged, int(num_cut)


def merge_answers(answers):
    """One `Answer` for a question on several documents, as if they were windows of one document."""
    spans = [DocumentSpan(i, span) for i, answer in enumerate(answers) for span in answer.spans]
    spans.sort(key=lambda document_span: -document_span.span.score)
    best_null = min(answers, key=lambda answer: answer.null_start + answer.null_end)
    return Answer(spans, best_null.null_start, best_null.null_end)


def describe_answer(query, answer, task, top_k):
    """{'id', 'question', 'answers': [{'text', 'probability', 'document', 'start', 'end',
    'passage'}], 'no_answer', and its 'no_answer_probability' for a 2.0 model}.

    start, end: characters of the document, `document[start:end] == text`. The probability is a
    softmax over the n best spans and, for a 2.0 model, "no answer".
    """
    plain_answer = Answer([document_span.span for document_span in answer.spans],
                          answer.null_start, answer.null_end)
    entries = n_best_entries(plain_answer, task['version_2'])
    null_probability = next((entry['probability'] for entry in entries if not entry['text']), 0.0)
    probabilities = [entry['probability'] for entry in entries if entry['text']]
    no_answer = not plain_answer.text(task['version_2'], task['null_score_diff_threshold'])
    result = {'question': query.question, 'no_answer': no_answer, 'answers': [
        dict(_locate(query, document_span), probability=probability)
        for document_span, probability in zip(answer.spans[:top_k], probabilities)]}
    if query.id is not None:
        result = dict({'id': query.id}, **result)
    if task['version_2']:
        result['no_answer_probability'] = null_probability
    return result


def _locate(query, document_span):
    """The text of a span, its place, and the passage around it."""
    i, span = document_span
    return {'text': span.text, 'document': query.names[i], 'start': span.start, 'end': span.end,
            'passage': passage(query.documents[i], span.start, span.end)}


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
        return json.dumps(result, ensure_ascii=False) + '\n'
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
