"""Answers to questions on documents of one's own: from arguments, files or standard input."""
import json
import sys
from typing import NamedTuple

from bert.data.squad.files import Question, Squad
from bert.data.squad.spans import Answer, Span, n_best_entries
from bert.data.squad.windows import make_windows
from bert.data.text.readers import decode, is_text, json_row, read_rows, read_text
from bert.errors import UserError
from bert.jobs.prediction.classification import check_output, open_output, standard_input
from bert.model.bert import compute_in
from bert.pipelines.question_answering import open_qa_model
from bert.train.devices import pick_device
from bert.train.log import progress

CHUNK = 256         # questions whose windows are sorted by length together; bounds the memory
AROUND = 80         # characters of the passage on either side of an answer …
SHORTER = 20        # … or so many fewer, to end at a space
COLUMNS = ('id', 'question', 'probability', 'answer', 'document', 'start', 'end', 'passage')
NO_ANSWER = '[no answer]'


class Query(NamedTuple):
    """One question on one or more documents, and where it stood."""
    id: str | None   # None for that of the command line
    question: str
    names: tuple        # of the documents, as the answers refer to them
    documents: tuple    # their texts
    where: str


class Found(NamedTuple):
    """A span of an `Answer` that knows its document."""
    document: int
    span: Span


def run(args):
    """Write the answers as the parsed flags of answer.py say; returns the number of questions."""
    device = pick_device(args.gpu, args.dtype)
    check_output(args)
    check_flags(args)
    model = open_qa_model(args.model_dir, device)
    compute_in(model.network, args.dtype)
    return answer_questions(model, args, device)


def answer_questions(model, args, device):
    """The same with a `QAModel` that is open. Returns the number of questions."""
    adapt(model, args)
    queries = read_queries(args)
    cut = 0
    with open_output(args.output) as out, progress(len(queries), unit='question') as bar:
        if args.format == 'tsv':
            out.write('\t'.join(_columns(queries[0])) + '\n')
        for start in range(0, len(queries), CHUNK):
            chunk = queries[start:start + CHUNK]
            answers, questions_cut = answer_queries(model, chunk, args.batch_size, device)
            cut += questions_cut
            for query, answer in zip(chunk, answers):
                out.write(format_answer(query, describe(query, answer, model.task, args.top_k),
                                        args.format))
            bar.update(len(chunk))
    if cut:
        print('warning: %d of %d questions were cut at %d tokens'
              % (cut, len(queries), model.options.max_query_length), file=sys.stderr)
    return len(queries)


def check_flags(args):
    """Raises `UserError` when texts come from two places."""
    given = [flag for flag, value in (('--jsonl', args.jsonl), ('a question', args.question))
             if value is not None]
    if len(given) != 1:
        raise UserError('give a question, or --jsonl with questions%s' % (
            ', not both' if given else
            '; --file takes all that follows it: the question comes before' if args.file else ''))
    if args.jsonl is not None and args.file:
        raise UserError('--jsonl has its own documents: leave --file out')
    if args.file and args.documents:
        raise UserError('give documents as arguments or by --file, not both')


def adapt(model, args):
    """Put what the flags say over what the model was trained with."""
    for name in ('null_score_diff_threshold', 'max_answer_length'):
        if getattr(args, name) is not None:
            model.task[name] = getattr(args, name)
    model.task['version_2'] = bool(model.task['version_2'] or args.version_2)
    model.task['n_best_size'] = max(model.task['n_best_size'], args.top_k)


# Questions and documents


def read_queries(args):
    """The `Query`s of the flags. Raises `UserError` naming what is empty or malformed."""
    if args.jsonl is not None:
        queries = [_query_of_line(args.jsonl, number, row) for number, row in _rows(args.jsonl)]
        if not queries:
            raise UserError('%s: no question in it' % args.jsonl)
        return queries
    if args.documents:
        names = tuple('document %d' % i for i in range(1, len(args.documents) + 1))
        texts = tuple(args.documents)
    else:
        names = tuple(args.file or ['-'])
        texts = tuple(_read_document(name, args.file) for name in names)
    return [_check(Query(None, args.question, names, texts, 'arguments'))]


def _rows(path):
    if path == '-':
        for number, line in standard_input():
            if line.strip():
                yield number, json_row('standard input', number, line)
    else:
        yield from read_rows(path, 'jsonl')


def _read_document(name, asked):
    """The text of one file as it is, so that an answer's characters count in it; '-' is standard
    input."""
    if name != '-':
        return read_text(name)
    if not asked and sys.stdin.isatty():
        raise UserError('no document: give it as an argument, by --file, or to standard input')
    return decode(sys.stdin.buffer.read(), 'standard input')


def _query_of_line(path, number, row):
    where = '%s:%d' % ('standard input' if path == '-' else path, number)
    if 'document' in row and 'documents' in row:
        raise UserError('%s: "document" and "documents": give one of the two' % where)
    documents = row['documents'] if 'documents' in row else [row.get('document')]
    if not isinstance(documents, list) or not all(isinstance(text, str) for text in documents):
        raise UserError('%s: "document" must be a text, or "documents" a list of texts' % where)
    if not isinstance(row.get('question'), str):
        raise UserError('%s: "question" must be a text' % where)
    names = tuple('document %d' % i for i in range(1, len(documents) + 1))
    name = row.get('id')
    return _check(Query(str(number if name is None else name), row['question'], names,
                        tuple(documents), where))


def _check(query):
    """The query; `UserError` when something of it is empty."""
    if not query.question.strip():
        raise UserError('%s: the question is empty' % query.where)
    if not query.documents:
        raise UserError('%s: no document' % query.where)
    for text in (query.question,) + query.documents:
        if not is_text(text):
            raise UserError('%s: half a surrogate pair, or bytes that are no UTF-8, in a text'
                            % query.where)
    for name, text in zip(query.names, query.documents):
        if not text.strip():
            raise UserError('%s: %s is empty' % (query.where,
                                                 'standard input' if name == '-' else name))
    return query


# Answers


def answer_queries(model, queries, batch_size, device):
    """([`Answer`] of `Found`s, one a query, over all its documents; questions that were cut)."""
    contexts = {}       # text → index: a document is tokenized once
    questions = [Question('', query.question, contexts.setdefault(text, len(contexts)), (), False)
                 for query in queries for text in query.documents]
    squad = Squad('', list(contexts), questions, [])
    windows = make_windows(squad, model.tokenizer, model.options)
    single = iter(model.find_answers(squad, windows, batch_size, device))
    merged = [merge([next(single) for _ in query.documents]) for query in queries]
    cut, first = 0, 0
    for query in queries:
        cut += windows.question_cut[first] > 0
        first += len(query.documents)
    return merged, int(cut)


def merge(answers):
    """One `Answer` for a question on several documents: as if they were windows of one."""
    found = [Found(i, span) for i, answer in enumerate(answers) for span in answer.spans]
    found.sort(key=lambda one: -one.span.score)
    null = min(answers, key=lambda answer: answer.null_start + answer.null_end)
    return Answer(found, null.null_start, null.null_end)


def describe(query, answer, task, top_k):
    """{'id', 'question', 'answers': [{'text', 'probability', 'document', 'start', 'end',
    'passage'}], 'no_answer', and its 'no_answer_probability' for a 2.0 model}.

    start, end: characters of the document, `document[start:end] == text`. The probability is a
    softmax over the spans that were kept and, for a 2.0 model, "no answer".
    """
    spans = Answer([one.span for one in answer.spans], answer.null_start, answer.null_end)
    entries = n_best_entries(spans, task['version_2'])
    null = next((entry['probability'] for entry in entries if not entry['text']), 0.0)
    shares = [entry['probability'] for entry in entries if entry['text']]
    no_answer = not spans.text(task['version_2'], task['null_score_diff_threshold'])
    result = {'question': query.question, 'no_answer': no_answer, 'answers': [
        dict(_place(query, one), probability=share)
        for one, share in zip(answer.spans[:top_k], shares)]}
    if query.id is not None:
        result = dict({'id': query.id}, **result)
    if task['version_2']:
        result['no_answer_probability'] = null
    return result


def _place(query, found):
    text, span = query.documents[found.document], found.span
    return {'text': span.text, 'document': query.names[found.document], 'start': span.start,
            'end': span.end, 'passage': passage(text, span.start, span.end)}


def passage(text, start, end):
    """The answer's line, cut at spaces when it is long, '…' where something is cut off."""
    line_start = text.rfind('\n', 0, start) + 1
    line_end = text.find('\n', end)
    line_end = len(text) if line_end < 0 else line_end
    first, last = max(line_start, start - AROUND), min(line_end, end + AROUND)
    if first > line_start:
        first = text.find(' ', first, min(first + SHORTER, start)) + 1 or first
    if last < line_end:
        space = text.rfind(' ', max(last - SHORTER, end), last)
        last = space if space >= 0 else last
    return ('…' if first > line_start else '') + text[first:last].strip() + \
        ('…' if last < line_end else '')


def _columns(query):
    """Those of the table: the question of the command line has no id."""
    return COLUMNS[1:] if query.id is None else COLUMNS


def format_answer(query, result, form):
    """Lines: JSON, or tab-separated with tabs and line ends made spaces."""
    if form == 'jsonl':
        return json.dumps(result, ensure_ascii=False) + '\n'
    rows = []
    if result['no_answer']:
        share = result.get('no_answer_probability')
        rows.append((query.id, query.question, '' if share is None else '%.4f' % share,
                     NO_ANSWER, '', '', '', ''))
    else:
        rows = [(query.id, query.question, '%.4f' % one['probability'], one['text'],
                 one['document'], one['start'], one['end'], one['passage'])
                for one in result['answers']]
    shown = len(_columns(query))
    return ''.join('\t'.join(' '.join(str(value).split()) for value in row[-shown:]) + '\n'
                   for row in rows)
