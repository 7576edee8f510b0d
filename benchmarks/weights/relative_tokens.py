"""Ids of our tokenizers of BERT's relatives against those of transformers.

For each relative transformers saves a tokenizer of its class: byte pairs and unigrams that learn
from the texts of a data folder, and word pieces from one of its vocabularies (tokenizer.py has all
of them). Both sides then encode every distinct text of the folder, and each text with the next one
as a pair, special tokens included: ours from transformers' folder, and transformers also from the
folder that ours writes. Exit status 1 when an id of transformers' own folder differs. In the other
folder the library `tokenizers` reads the scores of unigrams with an error of a bit, which decides
between segmentations of one score.
"""
import pathlib
import sys
import tempfile

import numpy as np

from benchmarks import harness
from benchmarks.peer_pins import PINS
from benchmarks.weights.tokenizer import differing_indices, texts_of, vocabularies_of

# {relative: class of transformers}, of those that learn from texts
LEARNT = {'roberta': 'RobertaTokenizer', 'xlm-roberta': 'XLMRobertaTokenizer',
          'camembert': 'CamembertTokenizer'}
# {relative: (class, a vocabulary of its language)}, of those with BERT's rules
WORD_PIECES = {'distilbert': ('DistilBertTokenizer', 'bert-base-uncased'),
               'electra': ('ElectraTokenizer', 'bert-base-uncased'),
               'ernie': ('BertTokenizer', 'bert-base-chinese')}
VOCABULARY_SIZE = 32000     # about that of CamemBERT, 32,005
MAX_EXAMPLES = 3            # printed differences


def make_parser():
    parser = harness.make_bare_parser(__doc__)
    parser.add_argument('--data', metavar='FOLDER', required=True,
                        help='with the texts and vocabularies of benchmarks.weights.tokenizer')
    parser.add_argument('--output', metavar='FILE', default='relative-tokens.json',
                        help='result file, JSON')
    parser.add_argument('--max_texts', type=int, metavar='N', help='a quick try on N texts')
    parser.add_argument('--learn_from', type=int, metavar='N', default=40000,
                        help='texts from which byte pairs and unigrams are learnt')
    return parser


def make_tokenizers(worker, folder, texts, vocabularies, learn_from):
    """{name: folder of a tokenizer, saved by transformers}"""
    sample = folder / 'sample.json'
    harness.write_json(sample, texts[::max(1, len(texts) // learn_from)])
    questions = {name: dict(name=tokenizer_class, texts=str(sample), size=VOCABULARY_SIZE)
                 for name, tokenizer_class in LEARNT.items()}
    questions.update({name: dict(name=tokenizer_class, vocabulary=str(vocabularies[vocabulary]),
                                 lower=True)        # as the relatives' own files say
                      for name, (tokenizer_class, vocabulary) in WORD_PIECES.items()})
    folders = {}
    for name, question in questions.items():
        folders[name] = str(folder / name)
        worker.ask(job='make', folder=folders[name], **question)
    return folders


def our_rows(source, target, texts):
    """int32 arrays: the ids of each text, then of each pair. source: folder of the tokenizer; it is
    written into the folder `target`, too."""
    from bert.data.text.tokenizer import BertTokenizer
    from bert.model.weights.tokenizer_files import read_folder_tokenizer
    from bert.vocabulary import write_tokenizer
    vocabulary, cased = read_folder_tokenizer(source)
    target.mkdir()
    write_tokenizer(vocabulary, str(target))
    tokenizer = BertTokenizer(vocabulary, lower=not cased)
    ids = tokenizer.encode(texts)
    single, pair = tokenizer.frame(False), tokenizer.frame(True)
    return [single.join([row])[0] for row in ids] + [
        pair.join(rows)[0] for rows in zip(ids, ids[1:])]


def their_rows(worker, folder, texts_path, output):
    """The same by transformers."""
    worker.ask(job='encode', folder=str(folder), texts=str(texts_path), output=str(output))
    with np.load(str(output)) as archive:
        return np.split(archive['ids'], np.cumsum(archive['lengths'])[:-1])


def compare(worker, work, name, source, texts):
    """The entry of one tokenizer in the result file."""
    texts_path, target = work / 'texts.json', work / ('ours-' + pathlib.Path(source).name)
    harness.write_json(texts_path, texts)
    ours = our_rows(source, target, texts)
    report = {'texts': len(texts), 'pairs': len(ours) - len(texts),
              'ids': int(sum(map(len, ours))), 'different': {}}
    sides = {'their folder': source}
    if (target / 'tokenizer.json').exists():    # else it is a vocab.txt, which names no class
        sides['our folder'] = target
    for side, folder in sides.items():
        different = differing_indices(ours, their_rows(worker, folder, texts_path,
                                                       work / 'ids.npz'))
        report['different'][side] = {'number': len(different), 'examples': [
            texts[i] if i < len(texts) else [texts[i - len(texts)], texts[i - len(texts) + 1]]
            for i in different[:MAX_EXAMPLES]]}
    print('%-12s %d ids of %d texts and %d pairs; different: %s' % (
        name, report['ids'], report['texts'], report['pairs'], ', '.join(
            '%s %d' % (side, entry['number']) for side, entry in report['different'].items())),
          flush=True)
    return report


def main():
    args = make_parser().parse_args()
    texts = texts_of(args.data)[:args.max_texts]
    with tempfile.TemporaryDirectory() as parent, \
            harness.Worker('peer', 'benchmarks.weights.peer_relative_tokens', threads=1) as worker:
        work = pathlib.Path(parent)
        folders = make_tokenizers(worker, work, texts, vocabularies_of(args.data),
                                  args.learn_from)
        reports = {name: compare(worker, work, name, folder, texts)
                   for name, folder in folders.items()}
    harness.write_json(args.output, {'peer': list(PINS['peer']), 'tokenizers': reports})
    return 1 if any(report['different']['their folder']['number']
                    for report in reports.values()) else 0


if __name__ == '__main__':
    sys.exit(main())
