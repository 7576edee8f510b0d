"""Pipelines of converted models against transformers': entities, labels, ranks and words at masks.

For each head, MiniLM with a random head reads real texts of unequal lengths in padded batches.
Three pipelines are compared with transformers' pipeline (for ranks sentence-transformers'
CrossEncoder) on its own folder: ours on that folder, ours on the Gluon folder that
convert_checkpoint.py makes from it, and transformers' on the folder that convert_checkpoint.py
makes from the Gluon folder. Fails when a score differs by more than the tolerance, or when an
entity, a class name, an order or a word differs. Then ours in the types with less precision:
fails when they are further away than `TOLERANCES`. --data_dir holds the folders ner and squad.
"""
import collections
import os
import pathlib
import sys
import tempfile

import numpy as np

from benchmarks import harness
from benchmarks.ner.speed import read_texts as read_tweets
from benchmarks.ranking import speed as ranking_speed
from benchmarks.weights.conversion import convert
from bert.flags.token_classification import AGGREGATIONS

PEER = 'peer-ranking'       # has transformers and sentence-transformers
BATCH_SIZE = 32             # of either side, texts or pairs: the default of ours
DOCUMENTS = 10              # of a query: about as many as a page of results has
MASK = '[MASK]'             # of the vocabulary of bert-base-uncased
VOCABULARY_SIZE = 30522     # of bert-base-uncased
TRANSFORM = 'cls.predictions.transform.'    # transformers' name of the layer before the decoder
# Changes of a random head, so that its answers depend on the text as those of a trained head do.
# The remark beside each number says what it does.
OUTSIDE_BIAS = 2            # added for O: a tweet has 3 to 4 entities; with 0 nearly all words are
CLASS_GAIN = 10             # the best scores are from 0.7 to 1; with 1, all are near 0.5
WORD_GAIN = 30              # the best word has a probability of 0.13; with 15, of 0.01
MAX_EXAMPLES = 5            # differences of a contender in the result file; the first is printed
LABELS = 'sad', 'glad', 'loud', 'long', 'kind', 'new'

# {contender: (folder, dtype)} of ours
OURS = {'ours, their folder': ('transformers', 'float32'),
        'ours, Gluon folder': ('gluon', 'float32'),
        'ours bfloat16': ('gluon', 'bfloat16'), 'ours int8': ('gluon', 'int8')}
THEIRS = {'theirs, converted back': ('back', 'float32'),
          'theirs bfloat16': ('transformers', 'bfloat16')}
EXACT = 'ours, their folder', 'ours, Gluon folder', 'theirs, converted back'

# architecture, shapes, config: of `write_with_head`; edit: function that changes {tensor: array} in
# place; task: of bert.open; answer: function(model, inputs) of ours; decide: function of the answer
# for one text
Head = collections.namedtuple('Head', 'architecture shapes config edit task answer decide')
# difference: the largest of a score; same: the smallest share of texts with the same decision
Tolerance = collections.namedtuple('Tolerance', 'difference same')
# Ours in int8: about 1.5 times the largest difference, and 10 points below the smallest share, of
# 200 texts on an AMD EPYC with AVX2. Ours in bfloat16: the values of transformers in bfloat16 there
# (--peer_bfloat16), rounded. It rounds every number, our kernels only the factors of products: with
# this alone in PyTorch, the differences were a third to two thirds as large.
TOLERANCES = {
    'ours int8': {'entities': Tolerance(0.08, 0.55), 'several labels': Tolerance(0.12, 0.85),
                  'reranker': Tolerance(0.08, 0.85), 'fill-mask': Tolerance(0.35, 0.6)},
    'ours bfloat16': {'entities': Tolerance(0.012, 0.9), 'several labels': Tolerance(0.009, 0.98),
                      'reranker': Tolerance(0.006, 0.95), 'fill-mask': Tolerance(0.04, 0.93)}}


def make_parser():
    parser = harness.make_parser(__doc__.split('\n')[0], output='heads.json')
    parser.add_argument('--texts', type=int, default=200, help='of each head')
    parser.add_argument('--seed', type=int, default=1, help='of the texts and masks')
    parser.add_argument('--tolerance', type=float, default=1e-4,
                        help='of every score in float32')
    parser.add_argument('--peer_bfloat16', action='store_true',
                        help='also transformers in bfloat16, beside which our tolerances of '
                             'bfloat16 were set; takes minutes on a CPU without it')
    return parser


# The models


def classes(labels):
    """The values of config.json for class names."""
    return {'id2label': {str(i): label for i, label in enumerate(labels)},
            'label2id': {label: i for i, label in enumerate(labels)}}


def linear(name, num_outputs):
    """{tensor: shape} of a layer behind the encoder."""
    return {name + '.weight': (num_outputs, harness.WEIGHTS_WIDTH),
            name + '.bias': (num_outputs,)}


def make_heads():
    """{name, as in peer_heads.py: `Head`}"""
    from bert.data.ner.schemes import make_labels
    from bert.data.ner.tasks import find_tag_task
    tags = make_labels(find_tag_task('WNUT17').types, 'IOB2')
    width = harness.WEIGHTS_WIDTH
    return {
        'entities': Head('BertForTokenClassification', linear('classifier', len(tags)),
                         classes(tags), raise_outside, None, find_entities, all_keys),
        'several labels': Head(
            'BertForSequenceClassification', linear('classifier', len(LABELS)),
            dict(classes(LABELS), problem_type='multi_label_classification'), spread_classes, None,
            find_labels, best_key),
        'reranker': Head(
            'BertForSequenceClassification', linear('classifier', 1),
            dict(classes(['LABEL_0']), sentence_transformers={
                'activation_fn': 'torch.nn.modules.activation.Sigmoid'}), spread_classes, None,
            rank, best_key),
        'fill-mask': Head(
            'BertForMaskedLM', {
                **linear(TRANSFORM + 'dense', width), TRANSFORM + 'LayerNorm.weight': (width,),
                TRANSFORM + 'LayerNorm.bias': (width,),
                'cls.predictions.bias': (VOCABULARY_SIZE,)},
            {}, spread_words, 'fill_mask', fill, best_key)}


def raise_outside(tensors):
    tensors['classifier.bias'][0] += OUTSIDE_BIAS       # O is the first of `make_labels`


def spread_classes(tensors):
    tensors['classifier.weight'] *= CLASS_GAIN


def spread_words(tensors):
    tensors[TRANSFORM + 'LayerNorm.weight'] *= WORD_GAIN


def make_folders(head, work):
    """{'transformers', 'gluon', 'back': folder} of MiniLM with a random head."""
    from safetensors.numpy import load_file, save_file

    from benchmarks.classifier.ours import write_with_head
    from bert.file_names import WEIGHTS_FILE
    work.mkdir()
    folders = {name: work / name for name in ('transformers', 'gluon', 'back')}
    write_with_head(folders['transformers'], head.architecture, head.shapes, **head.config)
    path = str(folders['transformers'] / WEIGHTS_FILE)
    tensors = load_file(path)
    head.edit(tensors)
    save_file(tensors, path, {'format': 'pt'})
    convert(folders['transformers'], folders['gluon'])
    convert(folders['gluon'], folders['back'])
    return folders


# Inputs


def read_inputs(data_dir, num_texts, seed):
    """{head: its inputs}: tweets of WNUT-17, sentences of SQuAD's dev, queries with documents."""
    from bert.data.squad.download import locate_squad
    random = np.random.RandomState(seed)
    folders = {name: os.path.join(data_dir, name) if data_dir else None
               for name in ('ner', 'squad')}
    content = harness.read_json(locate_squad('dev', data_dir=folders['squad']))
    texts = ranking_speed.read_texts(content)
    sentences = texts[-1]
    return {'entities': draw(read_tweets(folders['ner']), num_texts, random),
            'several labels': draw(sentences, num_texts, random),
            'reranker': ranking_speed.draw_requests(texts, num_texts // DOCUMENTS, DOCUMENTS, seed),
            'fill-mask': [mask_word(text, random) for text in draw(sentences, num_texts, random)]}


def draw(texts, number, random):
    """`number` different texts, or all if there are fewer."""
    return [texts[i] for i in random.permutation(len(texts))[:number]]


def mask_word(text, random):
    """The text with a mask in the place of one of its words."""
    words = text.split()
    words[random.randint(len(words))] = MASK
    return ' '.join(words)


# Ours: as in peer_heads.py, {name: for each input [[key, score]]}


def find_entities(model, texts):
    return {aggregation: [[[[record[0], record.start, record.end], record.score]
                           for record in records] for records in model(texts, aggregation)]
            for aggregation in AGGREGATIONS}


def find_labels(model, texts):
    return {'': [[[[label], probability] for label, probability in record.probabilities.items()]
                 for record in model(texts)]}


def rank(model, requests):
    return {'': [[[[entry.document], entry.score] for entry in model.rank(query, documents)]
                 for query, documents in requests]}


def fill(model, texts):
    return {'': [[[[word.token, word.word, word.sequence], word.score] for word in words]
                 for words in model(texts)]}


def our_answer(head, folder, dtype, inputs):
    """{'labels': names of the classes, None without any, 'outputs'}"""
    import bert
    model = bert.open(str(folder), task=head.task, dtype=dtype, batch_size=BATCH_SIZE)
    return {'labels': model.task.get('labels'), 'outputs': head.answer(model, inputs)}


def kernel_dtypes():
    """The types that our kernels can multiply on this CPU."""
    from bert.model.kernels import library
    kernels = library.load()
    return kernels.dtypes if kernels else ('float32',)


# The comparison


def all_keys(items):
    return [key for key, _ in items]


def best_key(items):
    return max(items, key=lambda item: item[1])[0]


def compare(expected, outputs, decide):
    """How near `outputs` are to `expected`, each of them [[key, score]] for each text.

    {'difference': the largest of the scores of a key that both have, 'same': share of the texts for
    which `decide` gives the same, 'unequal': indices of the texts whose keys or their order differ}
    """
    differences, unequal, same = [0.0], [], 0
    for i, (theirs, ours) in enumerate(zip(expected, outputs, strict=True)):
        scores = {tuple(key): score for key, score in theirs}
        differences += [abs(score - scores[tuple(key)]) for key, score in ours
                        if tuple(key) in scores]
        same += decide(theirs) == decide(ours)
        if all_keys(theirs) != all_keys(ours):
            unequal.append(i)
    return {'difference': float(np.max(differences)), 'same': same / len(expected),
            'unequal': unequal}     # np.max, unlike max, finds a NaN


def check_head(name, head, inputs, worker, work, peer_bfloat16=False):
    """{output: {contender: its comparison with transformers on its own folder}}; SystemExit when
    the class names differ."""
    folders = make_folders(head, work)

    def ask(folder, dtype='float32'):
        options = {'aggregations': AGGREGATIONS} if name == 'entities' else {}
        return worker.ask(job=name, folder=str(folders[folder]), inputs=inputs, dtype=dtype,
                          batch_size=BATCH_SIZE, **options)
    expected = ask('transformers')
    answers = {contender: our_answer(head, folders[folder], dtype, inputs)
               for contender, (folder, dtype) in OURS.items() if dtype in kernel_dtypes()}
    answers.update({contender: ask(folder, dtype) for contender, (folder, dtype) in THEIRS.items()
                    if dtype == 'float32' or peer_bfloat16})
    for contender, answer in answers.items():
        if answer['labels'] not in (None, expected['labels']):
            sys.exit('%s, %s: the classes are %s, of transformers %s' % (
                name, contender, answer['labels'], expected['labels']))
    return {output: {contender: with_examples(
        compare(rows, answer['outputs'][output], head.decide), inputs, rows,
        answer['outputs'][output]) for contender, answer in answers.items()}
        for output, rows in expected['outputs'].items()}


def with_examples(comparison, inputs, expected, outputs):
    """The comparison, with the number of unequal texts and the first of them."""
    unequal = comparison['unequal']
    return dict(comparison, unequal=len(unequal), examples=[
        {'input': inputs[i], 'theirs': expected[i], 'ours': outputs[i]}
        for i in unequal[:MAX_EXAMPLES]])


# The result


def limits_of(head, contender, tolerance):
    """The `Tolerance` of a contender, None without one. tolerance: of scores in float32."""
    if contender in EXACT:
        return Tolerance(tolerance, 1)
    return TOLERANCES[contender][head] if contender in OURS else None


def failures(reports, tolerance):
    """Yield what is further from transformers than allowed, in words."""
    for (head, output), row in reports.items():
        for contender, report in row.items():
            limits = limits_of(head, contender, tolerance)
            if limits:
                place = '%s, %s' % (name_of(head, output), contender)
                yield from ('%s: %s' % (place, problem) for problem in problems(
                    report, limits, contender in EXACT))


def problems(report, limits, is_exact):
    """Yield where a comparison is outside of its `Tolerance`."""
    if not report['difference'] <= limits.difference:       # also a NaN
        yield 'a score differs by %.1e, and %.1e is allowed' % (report['difference'],
                                                                limits.difference)
    if is_exact and report['unequal']:
        yield '%d texts differ' % report['unequal']
    elif report['same'] < limits.same:
        yield '%.1f %% are the same, and %.1f %% are expected' % (100 * report['same'],
                                                                  100 * limits.same)


def name_of(head, output):
    return ', '.join(filter(None, (head, output)))


def print_table(reports):
    contenders = list(next(iter(reports.values())))
    print('\n%-20s' % '' + ''.join('%24s' % contender for contender in contenders))
    for place, row in reports.items():
        print('%-20s' % name_of(*place) + ''.join('%24s' % (
            '%.1e, %.1f %%' % (row[contender]['difference'], 100 * row[contender]['same']))
            for contender in contenders))
    print('the largest difference of a score, and the share of texts with the same entities, best '
          'label, best document or best word')
    for contender in OURS:
        if contender not in contenders:
            print('%s was not measured: the kernels of this CPU lack the type' % contender)


def print_examples(reports):
    """The first input of each contender in float32 whose answer differs."""
    for place, row in reports.items():
        for contender in EXACT:
            for example in row[contender]['examples'][:1]:
                print('%s, %s: %s' % (name_of(*place), contender, example))


def main():
    args = make_parser().parse_args()
    harness.use_threads(args.threads)
    inputs = read_inputs(args.data_dir, args.texts, args.seed)
    reports = {}
    with tempfile.TemporaryDirectory() as parent, harness.Worker(
            PEER, 'benchmarks.weights.peer_heads', threads=args.threads) as worker:
        for name, head in make_heads().items():
            rows = check_head(name, head, inputs[name], worker, pathlib.Path(parent) / name,
                              args.peer_bfloat16)
            reports.update({(name, output): row for output, row in rows.items()})
    harness.write_result(args.output, harness.make_result(
        args, peer=PEER, heads={name_of(*place): row for place, row in reports.items()}))
    print_table(reports)
    print_examples(reports)
    failed = list(failures(reports, args.tolerance))
    if failed:
        sys.exit('\n'.join(failed))


if __name__ == '__main__':
    main()
