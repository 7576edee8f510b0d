"""Converted models against transformers: every head, both directions, real and random weights.

For each model: transformers' outputs on its own files, ours on the same files, ours on the Gluon
folder that convert_checkpoint.py makes from them, and transformers' (through its Auto classes) on
the folder that convert_checkpoint.py makes from the Gluon folder. BERT's relatives have a model for
each family and head. The inputs are sentences, or reactions for the chemical models, of unequal
lengths in one padded batch. Then the time and memory of converting a model of the size of
BERT-base. Fails when an output differs by more than the tolerance, or a tensor by one bit.
"""
import collections
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

from benchmarks import harness
from benchmarks.peer_pins import PINS

# rxnfp 0.1.0 (MIT): chemical reactions, from an early release of transformers
RXNFP = ('rxnfp', '0.1.0', 'c5c1e818add6f34539a6b29bc680c47c9e7311e9383d1b34ce901481e34b58cf')
RXNFP_FOLDER = 'rxnfp/models/transformers'
REACTIONS = ('CC(=O)O.OCC>>CC(=O)OCC.O', 'C=C.O>>CCO', 'OCC(=O)O>>OCC=O', 'CC#N.O>>CC(=O)N')
SENTENCES = ('A film of quiet wonder .', 'Two hours of my life .', 'Yes',
             'The actors do what they can with a plot that nobody would believe in a comic .')
TEXTS = SENTENCES + REACTIONS + ('Où est-il ?', '東京 2020', 'word0 word7 WORD3', '')
LARGE = dict(vocab_size=30522, hidden_size=768, num_hidden_layers=12, num_attention_heads=12,
             intermediate_size=3072, max_position_embeddings=512)
MEGABYTE = 1e6
KIBIBYTE = 1024     # the unit of ru_maxrss

# architecture, options: how transformers loads `folder`; auto_class, auto_options: how it loads the
# converted model
Model = collections.namedtuple('Model', 'name folder architecture options auto_class auto_options')

# Models with random weights. {name: (architecture, Auto class, arguments of peer_conversion.make)}
RANDOM_MODELS = {
    'encoder without pooler': ('BertModel', 'AutoModel', {'init': {'add_pooling_layer': False}}),
    'masked language model': ('BertForMaskedLM', 'AutoModelForMaskedLM', {}),
    'masked language model, untied': ('BertForMaskedLM', 'AutoModelForMaskedLM',
                                      {'config': {'tie_word_embeddings': False}}),
    'next sentence': ('BertForNextSentencePrediction', 'AutoModelForNextSentencePrediction', {}),
    'classes, gelu_new': ('BertForSequenceClassification', 'AutoModelForSequenceClassification',
                          {'config': {'hidden_act': 'gelu_new', 'id2label':
                                      {0: 'sad', 1: 'glad', 2: 'neither'}}}),
    'score, relu': ('BertForSequenceClassification', 'AutoModelForSequenceClassification',
                    {'config': {'hidden_act': 'relu', 'num_labels': 1,
                                'problem_type': 'regression'}}),
    'several classes a text': ('BertForSequenceClassification',
                               'AutoModelForSequenceClassification',
                               {'config': {'problem_type': 'multi_label_classification',
                                           'id2label': {0: 'sad', 1: 'glad', 2: 'loud'}}}),
    'reranker': ('BertForSequenceClassification', 'AutoModelForSequenceClassification',
                 {'config': {'num_labels': 1, 'sentence_transformers': {
                     'activation_fn': 'torch.nn.modules.activation.Sigmoid'}}}),
    'classes of tokens': ('BertForTokenClassification', 'AutoModelForTokenClassification',
                          {'config': {'id2label': {0: 'O', 1: 'B-PER', 2: 'I-PER'}}}),
    'question answering': ('BertForQuestionAnswering', 'AutoModelForQuestionAnswering',
                           {'config': {'layer_norm_eps': 1e-5}}),
    'pre-training, float16': ('BertForPreTraining', 'AutoModelForPreTraining',
                              {'dtype': 'float16'}),
    'pre-training, bfloat16': ('BertForPreTraining', 'AutoModelForPreTraining',
                               {'dtype': 'bfloat16'}),
    'pre-training, several files': ('BertForPreTraining', 'AutoModelForPreTraining',
                                    {'save': {'max_shard_size': '100KB'}}),
}

# Relatives of BERT: {model_type: (beginning of transformers' names, values of the configuration)}
RELATIVES = {
    **{name: (start, {'max_position_embeddings': 42, 'type_vocab_size': 1})
       for name, start in (('roberta', 'Roberta'), ('xlm-roberta', 'XLMRoberta'),
                           ('camembert', 'Camembert'))},
    'ernie': ('Ernie', {'hidden_act': 'relu', 'layer_norm_eps': 1e-5}),
    'distilbert': ('DistilBert', {'hidden_dim': 96}),
    'electra': ('Electra', {'embedding_size': 24})}
# {head: (end of transformers' names, values of the configuration)}
RELATIVE_HEADS = {
    'encoder': ('Model', {}),
    'classes': ('ForSequenceClassification', {'id2label': {0: 'sad', 1: 'glad', 2: 'neither'}}),
    'score': ('ForSequenceClassification', {'num_labels': 1, 'problem_type': 'regression'}),
    'classes of tokens': ('ForTokenClassification', {'id2label': {0: 'O', 1: 'B', 2: 'I'}}),
    'question answering': ('ForQuestionAnswering', {}),
    'masked language model': ('ForMaskedLM', {})}


def make_parser():
    parser = harness.make_parser(__doc__.split('\n')[0], output='conversion.json')
    parser.add_argument('--work_dir', metavar='FOLDER',
                        help='keep the models and outputs there; default: a temporary folder')
    parser.add_argument('--goldens', metavar='FILE',
                        help='write some of transformers\' outputs on the real models, which '
                             'the suite compares with')
    parser.add_argument('--tolerance', type=float, default=1e-4, help='of every output')
    return parser


# The models


def fetch_real_models(work):
    """The `Model`s with released weights."""
    from benchmarks.classifier import ours
    from bert import downloads
    members = ['%s/%s/%s' % (RXNFP_FOLDER, model, name)
               for model in ('bert_pretrained', 'bert_ft_10k_25s')
               for name in ('config.json', 'pytorch_model.bin', 'vocab.txt')]
    downloads.fetch_pypi_files(*RXNFP, members, str(work))
    chemistry = work / RXNFP_FOLDER
    return [
        Model('MiniLM', ours.weights_folder(), 'BertModel', {}, 'AutoModel', {}),
        Model('rxnfp bert_pretrained', str(chemistry / 'bert_pretrained'), 'BertForPreTraining',
              {}, 'AutoModelForPreTraining', {}),
        # its config.json names 2 labels, its weights have 50
        Model('rxnfp bert_ft_10k_25s', str(chemistry / 'bert_ft_10k_25s'),
              'BertForSequenceClassification', {'num_labels': 50},
              'AutoModelForSequenceClassification', {})]


def relatives():
    """The rows of RANDOM_MODELS for each family of RELATIVES with each head."""
    rows = {}
    for family, (start, family_values) in RELATIVES.items():
        for head, (end, values) in RELATIVE_HEADS.items():
            if (family, head) == ('electra', 'masked language model'):      # of its generator
                head, end = 'replaced tokens', 'ForPreTraining'
            rows['%s, %s' % (family, head)] = (
                start + end, 'AutoModel' + end.removeprefix('Model'),
                {'config': {**family_values, **values}})
    return rows


def make_random_models(worker, work):
    """The `Model`s with random weights, saved by transformers."""
    models = []
    for name, (architecture, auto_class, options) in {**RANDOM_MODELS, **relatives()}.items():
        folder = str(work / 'made' / name.replace(' ', '-').replace(',', ''))
        worker.ask(job='make', folder=folder, architecture=architecture,
                   **dict({'config': {}}, **options))
        load_options = options.get('init', {})
        models.append(Model(name, folder, architecture, load_options, auto_class, load_options))
    return models


# Inputs


def make_inputs(vocabulary, path, seed=0):
    """Write a padded batch for a model with this vocabulary; returns its arrays."""
    rows = make_rows(vocabulary, np.random.RandomState(seed))
    length = max(len(row) for row in rows)
    arrays = {name: np.zeros((len(rows), length), 'int32')
              for name in ('input_ids', 'token_type_ids', 'attention_mask')}
    arrays['input_ids'][:] = vocabulary[vocabulary.padding_token]
    for i, row in enumerate(rows):
        arrays['input_ids'][i, :len(row)] = row
        arrays['token_type_ids'][i, len(row) // 2:len(row)] = 1
        arrays['attention_mask'][i, :len(row)] = 1
    np.savez(path, **arrays)
    return arrays


def make_rows(vocabulary, rng):
    """Rows of ids with [CLS] and [SEP]: sentences, reactions character by character, or random
    tokens of the vocabulary of the random models."""
    from bert.data.text.tokenizer import BertTokenizer
    first, last = vocabulary[vocabulary.cls_token], vocabulary[vocabulary.sep_token]
    if 'word0' in vocabulary.token_to_idx:
        rows = [rng.randint(5, len(vocabulary), size) for size in (30, 3, 17, 24)]
    elif len(vocabulary) < 1000:
        rows = [[vocabulary[character] for character in text.replace('>>', '>')]
                for text in REACTIONS]
    else:
        rows = BertTokenizer(vocabulary, lower=True).encode(list(SENTENCES))
    return [[first] + list(row) + [last] for row in rows]


# Ours


def our_outputs(folder, arrays):
    """{name of an output: array} of the network in a folder of ours or of transformers."""
    import mxnet as mx

    from bert.model.weights import checkpoint_reader, heads, loading
    from bert.pipelines.model_folder import find_head
    checkpoint = checkpoint_reader.read_checkpoint(folder)
    head, tensors, _ = find_head(checkpoint)
    network = heads.make_network_with_head(checkpoint.config, head, tensors)
    loading.load_parameters(network, tensors, checkpoint.source, mx.cpu())
    tokens, segments = (mx.nd.array(arrays[name], dtype='int32')
                        for name in ('input_ids', 'token_type_ids'))
    lengths = arrays['attention_mask'].sum(axis=1)
    valid_length = mx.nd.array(lengths, dtype='float32')
    positions = mx.nd.array(np.tile(np.arange(tokens.shape[1]), (len(lengths), 1)))
    bert = getattr(network, 'bert', network)
    results = bert(tokens, segments, valid_length,
                   *([positions] if 'decoder.' in head.parts else []))
    results = list(results) if isinstance(results, (list, tuple)) else [results]
    outputs = {'hidden': results.pop(0)}
    if hasattr(bert, 'pooler'):
        pooled = results.pop(0)
        # of the relatives' classifiers, transformers counts this layer to the head
        if checkpoint.config.family in ('bert', 'ernie') or head.name == heads.ENCODER:
            outputs['pooled'] = pooled
    outputs.update(zip([name for name, part in (('next sentence', 'classifier.'),
                                                ('token logits', 'decoder.'))
                        if part in head.parts], results))
    if network is not bert:
        name = 'span' if head.name == heads.QUESTION_ANSWERING else 'logits'
        outputs[name] = network(tokens, segments, valid_length)
        if head.name == heads.DISCRIMINATOR:        # transformers has the second of two classes
            outputs[name] = outputs[name][:, :, 1]
    return {name: value.asnumpy() for name, value in outputs.items()}


def convert(source, target):
    """Run convert_checkpoint.py; (seconds, peak memory in MB)."""
    started = time.time()
    process = subprocess.Popen([sys.executable, '-m', 'bert.convert_checkpoint', str(source),
                                str(target), '--overwrite'], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit('convert_checkpoint.py %s failed' % source)
    return time.time() - started, usage.ru_maxrss * KIBIBYTE / MEGABYTE


# The comparison


def has_same_ids(worker, folder):
    """Whether the tokenizer that transformers loads from a folder of ours gives our ids."""
    from bert.data.text.tokenizer import BertTokenizer
    from bert.model.weights.checkpoint_reader import read_checkpoint
    checkpoint = read_checkpoint(folder)
    tokenizer = BertTokenizer(checkpoint.vocabulary, lower=not checkpoint.config.cased)
    theirs = worker.ask(job='tokenize', folder=folder, texts=TEXTS)
    return theirs == [ids.tolist() for ids in tokenizer.encode(list(TEXTS))]


def compare(expected, outputs, mask):
    """{name of an output: largest difference at real tokens}; SystemExit if one is missing."""
    if set(expected) != set(outputs):
        sys.exit('outputs %s and %s' % (sorted(expected), sorted(outputs)))
    differences = {}
    for name, value in expected.items():
        distance = np.abs(value - outputs[name])
        if distance.shape[:2] == mask.shape:
            distance = distance[mask.astype(bool)]
        differences[name] = float(distance.max())
    return differences


def has_same_tensors(source, target):
    """Whether two folders hold the same tensors bit for bit, tied copies aside."""
    from bert.model.weights import checkpoint_reader
    from bert.pipelines.model_folder import find_head
    sides = []
    for folder in (source, target):
        checkpoint = checkpoint_reader.read_checkpoint(folder)
        arrays = find_head(checkpoint)[1]
        sides.append({name: array.tobytes() for name, array in arrays.items()
                      if name != 'decoder.3.weight' or not checkpoint.config.tied_decoder})
    return sides[0] == sides[1]


def check_model(model, worker, work):
    """The differences of one model in all directions."""
    from bert.model.weights.checkpoint_reader import read_checkpoint
    name = model.name.replace(' ', '-').replace(',', '')
    gluon, again = str(work / 'gluon' / name), str(work / 'transformers' / name)
    inputs = str(work / ('%s-inputs.npz' % name))
    arrays = make_inputs(read_checkpoint(model.folder).vocabulary, inputs)
    convert(model.folder, gluon)
    convert(gluon, again)
    theirs, info = peer_outputs(worker, model.folder, model.architecture, inputs, model.options)
    ours = our_outputs(model.folder, arrays)
    ours_gluon = our_outputs(gluon, arrays)
    theirs_again, info_again = peer_outputs(worker, again, model.auto_class, inputs,
                                            model.auto_options)
    mask = arrays['attention_mask']
    return {'inputs': {name: array.tolist() for name, array in arrays.items()},
            'goldens': {name: sample_values(value, mask) for name, value in theirs.items()},
            'tokens': int(mask.sum()), 'complaints': info_again['complaints'],
            'class': info_again['class'],
            'labels': [info['id2label'], info_again['id2label']],
            'to gluon': compare(theirs, ours_gluon, mask),
            'read directly': compare(ours, ours_gluon, mask),
            'to transformers': compare(theirs, theirs_again, mask),
            'same bits': has_same_tensors(model.folder, again),
            'same ids': has_same_ids(worker, again)}


def peer_outputs(worker, folder, architecture, inputs, options):
    """({name of an output: array} by transformers, what `outputs` of peer_conversion.py returns)"""
    output = inputs.replace('-inputs', '-outputs')
    info = worker.ask(job='outputs', folder=folder, architecture=architecture, inputs=inputs,
                      output=output, options=options)
    with np.load(output) as archive:
        return dict(archive), info


def convert_large(worker, work):
    """{direction: {'seconds', 'MB': peak memory}} of converting a model as large as BERT-base."""
    folder = str(work / 'large')
    worker.ask(job='make', folder=folder, architecture='BertForPreTraining', config=LARGE)
    costs = {}
    for direction, source, target in (('to gluon', folder, work / 'large-gluon'),
                                      ('to transformers', work / 'large-gluon',
                                       work / 'large-transformers')):
        seconds, megabytes = convert(source, target)
        costs[direction] = {'seconds': seconds, 'MB': megabytes}
    return costs


def sample_values(value, mask):
    """Eight numbers of an output: four each of the first row's first token and of the second row's
    last; without a token dimension, of both rows."""
    if value.ndim == 2:
        rows = value[0], value[1]
    else:
        rows = value[0, 0], value[1, int(mask[1].sum()) - 1]
    return [float(number) for number in [*rows[0][:4], *rows[1][-4:]]]


def write_goldens(path, reports, real_models):
    """Write the file that tests/model/test_real_models.py compares with."""
    harness.write_json(path, {
        'made by': 'benchmarks/weights/conversion.py --goldens, with '
                   + ' '.join(PINS['peer'][:2]),
        'models': {model.name: {key: reports[model.name][key] for key in ('inputs', 'goldens')}
                   for model in real_models}})


def print_table(reports):
    print('%-34s %-16s %12s %16s  %s  %s' % ('model', 'output', 'to Gluon', 'to transformers',
                                             'same bits', 'same ids'))
    for name, report in reports.items():
        for output, difference in report['to gluon'].items():
            print('%-34s %-16s %12.1e %16.1e  %-9s  %s' % (
                name, output, difference, report['to transformers'][output],
                'yes' if report['same bits'] else 'NO', 'yes' if report['same ids'] else 'NO'))


def failed_models(reports, tolerance):
    """Yield the names of models that differ."""
    for name, report in reports.items():
        difference = max(max(report[side].values())
                         for side in ('to gluon', 'to transformers', 'read directly'))
        if difference > tolerance or report['complaints'] \
                or not (report['same bits'] and report['same ids']):
            yield name


def main():
    args = make_parser().parse_args()
    harness.use_threads(args.threads)
    with tempfile.TemporaryDirectory() as temporary, \
            harness.Worker('peer', 'benchmarks.weights.peer_conversion',
                           threads=args.threads) as worker:
        work = pathlib.Path(args.work_dir or temporary)
        real_models = fetch_real_models(work)
        reports = {model.name: check_model(model, worker, work)
                   for model in real_models + make_random_models(worker, work)}
        large = convert_large(worker, work)
    harness.write_result(args.output, harness.make_result(args, models=reports, large=large))
    if args.goldens:
        write_goldens(args.goldens, reports, real_models)
    print_table(reports)
    for direction, cost in large.items():
        print('110M parameters %s: %.1f s, %.0f MB at most' % (direction, cost['seconds'],
                                                               cost['MB']))
    failed_names = list(failed_models(reports, args.tolerance))
    if failed_names:
        sys.exit('differences: %s' % ', '.join(failed_names))


if __name__ == '__main__':
    main()
