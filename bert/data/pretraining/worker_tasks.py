"""The tasks of making pre-training data, for any worker that sees the output folder.

A plan in the folder says all that they need, so a task is three values: the folder, the plan's
key and a number. First each block of text is tokenized into a store of its own; the stores are
put together; then each shard is made from its units, a unit being one copy of the examples of one
block. What a shard holds depends on the plan alone, not on the worker, so any number of them
writes the same bytes. Nothing here imports mxnet: a worker starts in half a second.
"""
import functools
import os
import types

import numpy as np

from bert import file_names, files
from bert.data.arrays.ragged import offsets_of
from bert.data.pretraining import corpus, sentences, shards, token_store
from bert.data.pretraining.examples import Pieces, Sampling, join_examples, make_examples
from bert.data.text.tokenizer import BertTokenizer
from bert.data.text.word_cache import WordTokenizer
from bert.errors import UserError
from bert.vocabulary import read_tokens

WORK, PLAN, DEAL, STORE, PUNKT = '.work', 'plan.json', 'deal.json', 'corpus', 'punkt.json'
# Beside (seed, document, copy) of the examples: two more streams of random numbers, whose third
# value no copy has
SHARDS_STREAM, ORDER_STREAM = 2 ** 31, 2 ** 31 + 1


def work_path(folder, name):
    return os.path.join(folder, WORK, name)


def block_path(folder, number):
    """Of the store of one block."""
    return work_path(folder, 'block-%06d' % number)


def shard_name(number):
    return 'part-%03d.npz' % number


def epoch_name(epoch):
    """Of the folder with the shards of one epoch."""
    return 'epoch-%06d' % epoch


@functools.lru_cache(maxsize=1)
def open_plan(folder, key):
    """The plan with this key, and what is made of it once a process: `tokenizer`, `splitter`,
    `pieces`, `sampling`."""
    content = files.read_json(work_path(folder, PLAN))
    if content.get('key') != key:
        raise UserError('%s: another run has changed its plan: give each run its own --output_dir'
                        % folder)
    plan = types.SimpleNamespace(**content)
    tokens = read_tokens(os.path.join(folder, file_names.VOCABULARY))
    ids = {token: i for i, token in enumerate(tokens)}
    plan.ids, plan.unknown = ids, ids['[UNK]']
    plan.tokenizer = WordTokenizer(BertTokenizer(types.SimpleNamespace(token_to_idx=ids),
                                                 plan.lower))
    if plan.splitter:
        plan.splitter = sentences.load_splitter(work_path(folder, PUNKT))
    plan.pieces = Pieces(tokens)
    plan.sampling = Sampling(**plan.sampling)
    return plan


# First: text to tokens


def tokenize_block(folder, key, number):
    """Tokenize block `number`; returns {'sentences', 'empty_sentences', 'empty_documents',
    'documents', 'tokens', 'unknown'}."""
    plan = open_plan(folder, key)
    documents = corpus.read_documents(corpus.Block(*plan.blocks[number]))
    if plan.splitter:
        documents = [sentences.split(plan.splitter, lines) for lines in documents]
    encoded = encode(plan, documents)
    kept = [[ids for ids in document if len(ids)] for document in encoded]
    tokens = np.concatenate([ids for document in kept for ids in document] or [[]])
    counts = {'sentences': sum(map(len, documents)), 'tokens': len(tokens),
              'unknown': int((tokens == plan.unknown).sum()),
              'empty_sentences': sum(map(len, encoded)) - sum(map(len, kept)),
              'documents': sum(map(bool, kept)),
              'empty_documents': sum(not document for document in kept)}
    kept = [document for document in kept if document]
    files.write_json(block_path(folder, number) + '.json', counts)
    token_store.write_store(block_path(folder, number), kept, len(plan.ids))
    return counts


def encode(plan, documents):
    """For each document a list with the ids of each sentence."""
    texts = [text for document in documents for text in document]
    if plan.tokenized:
        found = iter([np.array([plan.ids.get(token, plan.unknown) for token in text.split()],
                               dtype='int32') for text in texts])
    else:
        found = iter(plan.tokenizer.encode(texts))
    return [[next(found) for _ in document] for document in documents]


def read_counts(folder, number):
    """What `tokenize_block` returned, if it is done; else None."""
    if not token_store.is_complete(block_path(folder, number)):
        return None
    return files.read_json(block_path(folder, number) + '.json')


# Then: tokens to examples


def deal_units(blocks, copies, num_shards, seed):
    """For each shard its [block, copy]s: all of them dealt out in random order, so that the
    copies of a text lie in different places."""
    units = [[block, copy] for block in blocks for copy in copies]
    words = [seed % 2 ** 32, copies[0], SHARDS_STREAM]
    order = np.random.RandomState(words).permutation(len(units))
    return [sorted(units[i] for i in order[shard::num_shards]) for shard in range(num_shards)]


@functools.lru_cache(maxsize=1)
def open_deal(folder, key, epoch):
    """(the units of each shard, where the documents of each block start in the store and the end),
    from what is known once all is tokenized: `write_deal`.

    epoch: its number is that of the one copy; None: all copies of the plan.
    """
    plan, deal = open_plan(folder, key), files.read_json(work_path(folder, DEAL))
    units = deal_units([i for i, number in enumerate(deal['block_documents']) if number],
                       range(plan.copies) if epoch is None else [epoch], deal['num_shards'],
                       plan.sampling.random_seed)
    return units, offsets_of(deal['block_documents']).tolist()


def write_deal(folder, block_documents, num_shards):
    """block_documents: how many documents each block has in the store."""
    files.write_json(work_path(folder, DEAL), {'block_documents': block_documents,
                                               'num_shards': num_shards})


def make_shard(folder, key, number, epoch=None):
    """Write shard `number`, of all copies or of one epoch; returns what the manifest says of it."""
    plan = open_plan(folder, key)
    units, starts = open_deal(folder, key, epoch)
    with token_store.TokenStore(work_path(folder, STORE), len(plan.ids)) as store:
        examples = join_examples([
            make_examples(store, starts[block], starts[block + 1], copy, plan.sampling,
                          plan.pieces)
            for block, copy in units[number]])
    rng = np.random.RandomState([plan.sampling.random_seed % 2 ** 32, number, ORDER_STREAM])
    folder = folder if epoch is None else os.path.join(folder, epoch_name(epoch))
    path = os.path.join(folder, shard_name(number))
    shards.write_shard(path, examples.select(rng.permutation(examples.size)))
    return shards.describe_shard(path, examples)
