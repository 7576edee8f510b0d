"""Ranking documents for queries, ours and sentence-transformers', side by side in one run.

Queries are questions of SQuAD's dev; the documents of each are drawn from its paragraphs and their
sentences, so that their lengths are mixed. The cross-encoder is MiniLM with a random head of one
output, or --model_dir, a folder that both sides open. In each round all contenders rank the same
documents one after the other: ours in bfloat16, int8 and float32, theirs in bfloat16 and float32
by `rank`, which sorts them by length, and by transformers' pipeline, which pads each batch in the
order of the documents. Opening the model is not counted. Exit status 1 when our scores in float32
differ from theirs by 1e-4, or when ours in bfloat16 is less than 1.9 times as fast as one of theirs
in bfloat16, where both are measured. Compare within one run only, on a machine without other work.
"""
import contextlib
import os
import pathlib
import re
import sys
import tempfile

import numpy as np

from benchmarks import harness

# {contender: (side, dtype)}
CONTENDERS = {'ours bfloat16': ('ours', 'bfloat16'), 'ours int8': ('ours', 'int8'),
              'ours float32': ('ours', 'float32'), 'theirs bfloat16': ('peer', 'bfloat16'),
              'theirs float32': ('peer', 'float32'),
              'pipeline bfloat16': ('pipeline', 'bfloat16'),
              'pipeline float32': ('pipeline', 'float32')}
# Least ratios of speed (issue 28 of this project)
GOALS = {('ours bfloat16', other + ' bfloat16'): 1.9 for other in ('theirs', 'pipeline')}
EXACT = 'ours float32', 'theirs float32'
TOLERANCE = 1e-4
PEER = 'peer-ranking'


def make_parser():
    parser = harness.make_parser(__doc__, 'ranking.json')
    harness.add_squad_flags(parser)
    parser.add_argument('--model_dir', metavar='FOLDER',
                        help='cross-encoder in Hugging Face layout; default: a random head')
    parser.add_argument('--contenders', type=harness.comma_list, default=list(CONTENDERS),
                        help='comma-separated, the first is set over the others; bfloat16 and '
                             'int8 need a CPU with kernels for them')
    parser.add_argument('--queries', type=int, default=40, help='a round')
    parser.add_argument('--documents', type=int, default=50, help='of a query')
    parser.add_argument('--batch_size', type=int, default=32, help='pairs, of either side')
    parser.add_argument('--rounds', type=int, default=6, help='the first of them is warm-up')
    parser.add_argument('--seed', type=int, default=1, help='of the queries and documents')
    return parser


# The model and the data


def write_model(folder):
    """Write MiniLM with a random head of one output, as sentence-transformers has cross-encoders.
    Returns the folder."""
    from benchmarks.classifier.ours import write_with_head  # imports mxnet, which reads the threads
    return write_with_head(
        folder, 'BertForSequenceClassification', {'classifier.weight': (1, harness.WEIGHTS_WIDTH),
                                                  'classifier.bias': (1,)},
        id2label={'0': 'LABEL_0'}, label2id={'LABEL_0': 0},
        sentence_transformers={'activation_fn': 'torch.nn.modules.activation.Sigmoid'})


def read_texts(content):
    """(questions, documents: paragraphs and their sentences) of a SQuAD file."""
    paragraphs = [paragraph for article in content['data'] for paragraph in article['paragraphs']]
    questions = [qa['question'] for paragraph in paragraphs for qa in paragraph['qas']]
    contexts = [paragraph['context'] for paragraph in paragraphs]
    sentences = [sentence for context in contexts
                 for sentence in re.split(r'(?<=[.!?]) +', context) if sentence.strip()]
    return questions, list(dict.fromkeys(contexts)), list(dict.fromkeys(sentences))


def draw_requests(texts, num_queries, num_documents, seed):
    """[(query, documents)]: half of the documents are paragraphs, half are sentences."""
    random = np.random.RandomState(seed)
    questions, contexts, sentences = texts
    num_contexts = num_documents // 2
    requests = []
    for _ in range(num_queries):
        documents = list(random.choice(contexts, num_contexts, replace=False)) + list(
            random.choice(sentences, num_documents - num_contexts, replace=False))
        requests.append((str(random.choice(questions)),
                         [str(documents[i]) for i in random.permutation(num_documents)]))
    return requests


# The comparison


def start_workers(stack, folder, contenders, threads):
    """{contender: its `Worker`}"""
    commands = {'ours': ('ours', 'benchmarks.ranking.ours', folder),
                'peer': (PEER, 'benchmarks.ranking.peer', 'speed', '--weights', folder),
                'pipeline': (PEER, 'benchmarks.ranking.peer', 'pipeline', '--weights', folder)}
    return {contender: stack.enter_context(harness.Worker(
        *commands[CONTENDERS[contender][0]], '--dtype', CONTENDERS[contender][1],
        threads=threads)) for contender in contenders}


def measure(args, folder, workers, texts):
    """({contender: [documents a second of each round]}, {contender: scores of the last round})"""
    rates = {contender: [] for contender in workers}
    for round_number in range(args.rounds):
        path = folder / 'requests.json'
        harness.write_json(path, draw_requests(texts, args.queries, args.documents,
                                               [args.seed, round_number]))
        for contender, worker in workers.items():
            seconds = worker.ask(texts=str(path), batch_size=args.batch_size,
                                 output=str(folder / (contender + '.npy')))['seconds']
            if round_number:
                rates[contender].append(args.queries * args.documents / seconds)
        if round_number:
            harness.print_round('round %d, documents a second' % round_number,
                                {contender: values[-1] for contender, values in rates.items()},
                                '%.0f')
    return rates, {contender: np.load(folder / (contender + '.npy')) for contender in workers}


def compare_order(scores, other_scores):
    """{'difference': the largest of a score, 'same_first': share of the queries whose best document
    is the same}"""
    return {'difference': float(np.abs(scores - other_scores).max()),
            'same_first': float((scores.argmax(axis=1) == other_scores.argmax(axis=1)).mean())}


def summarize(rates, scores):
    """{contender: its speed, the first one's over it, and its scores beside theirs in float32}"""
    first = next(iter(rates))
    return {contender: dict(
        documents_per_second=harness.median_and_range(values),
        first_over_it=harness.ratio_range(rates[first], values),
        **compare_order(scores[contender], scores[EXACT[1]]))
        for contender, values in rates.items()}


def print_table(summary):
    print('\n%-16s %26s %26s %12s %11s' % ('', 'documents a second',
                                           next(iter(summary)) + ' over it',
                                           'difference', 'same first'))
    for contender, values in summary.items():
        print('%-16s %26s %26s %12.1e %9.0f %%' % (
            contender, harness.format_range(values['documents_per_second'], 0),
            harness.format_range(values['first_over_it']), values['difference'],
            100 * values['same_first']))
    print(harness.RANGE_NOTE)


def missed_goals(summary):
    """Yield what ours misses."""
    if EXACT[0] in summary and summary[EXACT[0]]['difference'] >= TOLERANCE:
        yield 'the scores in float32 differ by %.1e' % summary[EXACT[0]]['difference']
    yield from harness.missed_goals(summary, GOALS)


def main():
    args = make_parser().parse_args()
    unknown = set(args.contenders) - set(CONTENDERS)
    if unknown or EXACT[1] not in args.contenders:
        sys.exit('--contenders: of %s, with %s' % (', '.join(CONTENDERS), EXACT[1]))
    harness.use_threads(args.threads)
    texts = read_texts(harness.read_json(harness.squad_file(args, 'dev')))
    with tempfile.TemporaryDirectory() as parent, contextlib.ExitStack() as stack:
        folder = pathlib.Path(parent)
        model = os.path.abspath(args.model_dir) if args.model_dir else write_model(folder / 'model')
        workers = start_workers(stack, model, args.contenders, args.threads)
        summary = summarize(*measure(args, folder, workers, texts))
    result = harness.make_result(args, peer=PEER, ranking=summary)
    harness.write_result(args.output, result)
    print_table(summary)
    harness.warn_if_busy(result)
    misses = list(missed_goals(summary))
    print('missed: ' + '; '.join(misses) if misses else 'every goal that was measured is reached')
    return 1 if misses else 0


if __name__ == '__main__':
    sys.exit(main())
