"""Ids of our tokenizer against transformers' two BertTokenizers and against gluonnlp's.

Compares the ids of every distinct text of a data folder, for every vocabulary in it. The peers are
today's BertTokenizer, which uses the `tokenizers` library as ours does, and the last one that was
written in Python and shares no code with it. The Python one alone composes characters (Unicode's
NFC) first, so these differences are counted apart. Exit status 1 when there are any others.
"""
import collections
import functools
import hashlib
import json
import pathlib
import sys
import tempfile
import time
import unicodedata

import numpy as np

from benchmarks import harness
from benchmarks.peer_pins import PINS

MAX_EXAMPLES = 5    # printed differences of each cause
PEERS = {'python': 'peer-tokenizer', 'today': 'peer'}   # {BertTokenizer: environment}


def make_parser():
    parser = harness.make_bare_parser(__doc__)
    parser.add_argument('--data', metavar='FOLDER', required=True,
                        help='with glue/*/*, ernie/*/*, squad/*.json, corpus/*.txt, vocab/*.txt')
    parser.add_argument('--output', metavar='FILE', default='tokenizer.json',
                        help='result file, JSON')
    parser.add_argument('--digests', metavar='FILE',
                        help='write the digests of our ids here; the tests compare with them')
    parser.add_argument('--max_texts', type=int, metavar='N', help='a quick try on N texts')
    return parser


# Texts


def texts_of(folder):
    """The distinct texts of a data folder, sorted by code point.

    All tab-separated fields in glue and ernie (labels and headers too, they do no harm), all
    strings in the squad files, all lines in corpus.
    """
    folder, texts = pathlib.Path(folder), set()
    for path in folder.glob('squad/*.json'):
        texts.update(strings_in(json.loads(path.read_text(encoding='utf-8'))))
    for pattern in ('glue/*/*.t*', 'ernie/*/*.t*', 'corpus/*.txt'):
        for path in folder.glob(pattern):
            for line in path.read_text(encoding='utf-8').split('\n'):
                texts.update(line.rstrip('\r').split('\t'))
    return sorted(text for text in texts if text.strip())


def strings_in(value):
    """All strings inside lists and dictionaries."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for part in value if isinstance(value, list) else value.values():
            yield from strings_in(part)


def vocabularies_of(folder):
    """{name: path}"""
    return {path.stem: path for path in sorted(pathlib.Path(folder).glob('vocab/*.txt'))}


def is_lower(name):
    """Whether a vocabulary is for lower-cased text, by its name."""
    return name.endswith('uncased')


def sample_of(texts):
    """A sample for the tests, which takes a fraction of the time: every text with a character
    beyond ASCII, where tokenizers disagree, and one in ten of the rest."""
    plain = [text for text in texts if text.isascii()]
    return [text for text in texts if not text.isascii()] + plain[::10]


# Ours


def our_ids(path, texts):
    """List of int32 arrays, one a text."""
    return our_tokenizer(path).encode(texts)


@functools.cache
def our_tokenizer(path):
    from bert.data.text.tokenizer import BertTokenizer
    return BertTokenizer(vocabulary_at(path), is_lower(path.stem))


@functools.cache
def vocabulary_at(path):
    from bert.vocabulary import read_vocabulary
    return read_vocabulary(str(path))


def digest_of(ids):
    """sha256 over, text by text, the number of ids and the ids: int32, little endian."""
    digest = hashlib.sha256()
    for row in ids:
        digest.update(len(row).to_bytes(4, 'little'))
        digest.update(row.astype('<i4').tobytes())
    return digest.hexdigest()


def digests_of(texts, ids):
    """{'all', 'sample': {'texts': their number, 'sha256'}}"""
    ids_of = dict(zip(texts, ids))
    return {name: {'texts': len(subset), 'sha256': digest_of(map(ids_of.get, subset))}
            for name, subset in (('all', texts), ('sample', sample_of(texts)))}


# transformers


def peer_ids(environment, path, texts, folder):
    """List of int32 arrays, one a text, from an environment's BertTokenizer."""
    texts_path, ids_path = pathlib.Path(folder) / 'texts.json', pathlib.Path(folder) / 'ids.npz'
    harness.write_json(texts_path, texts)
    lower = ['--lower'] if is_lower(path.stem) else []
    harness.run_worker(environment, 'benchmarks.weights.peer_tokenizer', '--vocabulary', path,
                       '--texts', texts_path, '--output', ids_path, *lower, threads=1)
    with np.load(str(ids_path)) as archive:
        return np.split(archive['ids'], np.cumsum(archive['lengths'])[:-1])


def differing_indices(our_rows, their_rows):
    """Indices of the texts whose ids differ."""
    return [i for i, (ours, theirs) in enumerate(zip(our_rows, their_rows))
            if len(ours) != len(theirs) or (ours != theirs).any()]


# gluonnlp


def gluonnlp_ids(path, texts):
    """List of int32 arrays, one a text."""
    from gluonnlp.data import BERTTokenizer
    tokenizer = BERTTokenizer(vocabulary_at(path), lower=is_lower(path.stem))
    return [np.array(tokenizer.convert_tokens_to_ids(tokenizer(text)), dtype='int32')
            for text in texts]


# The comparison


def compose(text):
    return unicodedata.normalize('NFC', text)


def strip_accents(text):
    return ''.join(character for character in unicodedata.normalize('NFD', text)
                   if unicodedata.category(character) != 'Mn')


# {cause of a difference: change to the text after which ours gives the peer's ids}
CAUSES = {'composed characters (NFC)': compose, 'accents stripped': strip_accents}


def group_differences(path, texts, our_rows, their_rows):
    """{cause: {'number', 'examples': [[text, our pieces, their pieces]]}}"""
    causes = collections.defaultdict(lambda: {'number': 0, 'examples': []})
    pieces_of = vocabulary_at(path).to_tokens
    for i in differing_indices(our_rows, their_rows):
        group = causes[cause_of(path, texts[i], their_rows[i])]
        group['number'] += 1
        if len(group['examples']) < MAX_EXAMPLES:
            group['examples'].append([texts[i], *excerpts(pieces_of(our_rows[i].tolist()),
                                                          pieces_of(their_rows[i].tolist()))])
    return dict(causes)


def cause_of(path, text, their_ids):
    for cause, change in CAUSES.items():
        if np.array_equal(our_ids(path, [change(text)])[0], their_ids):
            return cause
    return 'other'


def excerpts(ours, theirs):
    """The pieces where two lists first differ, as text."""
    first = next((i for i, pair in enumerate(zip(ours, theirs)) if pair[0] != pair[1]),
                 min(len(ours), len(theirs)))
    return [' '.join(pieces[max(first - 1, 0):first + 4]) for pieces in (ours, theirs)]


def compare(path, texts, folder):
    """The entry of one vocabulary in the result file."""
    started = time.time()
    ids = our_ids(path, texts)
    seconds = time.time() - started
    peers = {'transformers, ' + name: peer_ids(environment, path, texts, folder)
             for name, environment in PEERS.items()}
    peers['gluonnlp'] = gluonnlp_ids(path, texts)
    return {'texts': len(texts), 'ids': int(sum(map(len, ids))), 'our_seconds': seconds,
            'digests': digests_of(texts, ids),
            'differences': {name: group_differences(path, texts, ids, theirs)
                            for name, theirs in peers.items()}}


def has_expected_ids(report):
    """Whether the ids of one vocabulary are those of transformers."""
    today, python = (report['differences']['transformers, ' + name]
                     for name in ('today', 'python'))
    return not today and set(python) <= {'composed characters (NFC)'}


def print_report(name, report):
    print('%s: %d texts, %d ids, sha256 %s'
          % (name, report['texts'], report['ids'], report['digests']['all']['sha256']))
    for peer, causes in report['differences'].items():
        print('  %s: %d texts differ' % (peer, sum(group['number'] for group in causes.values())))
        for cause, group in causes.items():
            print('    %s: %d' % (cause, group['number']))
            for _, ours, theirs in group['examples']:
                print('      ours: %s | theirs: %s' % (ours, theirs))
    sys.stdout.flush()


def main():
    args = make_parser().parse_args()
    texts = texts_of(args.data)[:args.max_texts]
    print('%d distinct texts' % len(texts))
    for name, environment in PEERS.items():
        print('transformers, %s: %s' % (name, ' '.join(PINS[environment])))
    reports = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, path in vocabularies_of(args.data).items():
            reports[name] = compare(path, texts, folder)
            print_report(name, reports[name])
    harness.write_json(args.output, {'peers': {name: list(PINS[environment])
                                               for name, environment in PEERS.items()},
                                     'vocabularies': reports})
    if args.digests:
        harness.write_json(args.digests, {name: report['digests']
                                          for name, report in reports.items()})
    return 0 if all(map(has_expected_ids, reports.values())) else 1


if __name__ == '__main__':
    sys.exit(main())
