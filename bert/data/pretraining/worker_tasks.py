"""Tasks that make pre-training data, for any worker that sees the output folder.

A plan in the folder has all that the tasks need, so a task is three values: the folder, the key of
the plan and an index. One task per block of text tokenizes it into a store; the job concatenates
the stores; then one task per shard makes it from its units. A unit is one copy of the examples of
one block. The content of a shard depends on the plan alone, so any number of workers writes the
same bytes. Nothing here imports mxnet: a worker starts in half a second.
"""
import functools
import os
import types

import numpy as np

from bert import file_names, files
from bert.data.arrays.ragged import offsets_of
from bert.data.pretraining import corpus, sentences, shards, token_store
from bert.data.pretraining.examples import (
    MaskingVocabulary,
    SamplingOptions,
    join_examples,
    make_examples,
)
from bert.data.text.tokenizer import BertTokenizer
from bert.data.text.word_cache import CachingTokenizer
from bert.errors import UserError
from bert.vocabulary import read_tokens

WORK_FOLDER, STORE_PREFIX = '.work', 'corpus'
PLAN_FILE, ASSIGNMENT_FILE, PUNKT_FILE = 'plan.json', 'deal.json', 'punkt.json'
# Examples draw random numbers from the streams (seed, document, copy). These two streams are for
# other draws; no copy has such an index.
SHARDS_STREAM, ORDER_STREAM = 2 ** 31, 2 ** 31 + 1


def work_path(folder, name):
    return os.path.join(folder, WORK_FOLDER, name)


def block_path(folder, index):
    """Path of the store of one block."""
    return work_path(folder, 'block-%06d' % index)


def shard_name(index):
    return 'part-%03d.npz' % index


def epoch_name(epoch):
    """Name of the folder with the shards of one epoch."""
    return 'epoch-%06d' % epoch


@functools.lru_cache(maxsize=1)
def open_data_plan(folder, key):
    """The plan with this key, with the objects that each process makes once: `tokenizer`,
    `splitter`, `masking_vocabulary`, `sampling`."""
    content = files.read_json(work_path(folder, PLAN_FILE))
    if content.get('key') != key:
        raise UserError('%s: another run has changed the plan there: give each run its own '
                        '--output_dir'
                        % folder)
    plan = types.SimpleNamespace(**content)
    tokens = read_tokens(os.path.join(folder, file_names.VOCABULARY_FILE))
    ids = {token: i for i, token in enumerate(tokens)}
    plan.ids, plan.unknown = ids, ids['[UNK]']
    plan.tokenizer = CachingTokenizer(BertTokenizer(types.SimpleNamespace(token_to_idx=ids),
                                                    plan.lower))
    if plan.splitter:
        plan.splitter = sentences.load_splitter(work_path(folder, PUNKT_FILE))
    plan.masking_vocabulary = MaskingVocabulary(tokens)
    plan.sampling = SamplingOptions(**plan.sampling)
    return plan


# First step: text → tokens


def tokenize_block(folder, key, index):
    """Tokenize the block `index`; returns {'sentences', 'empty_sentences', 'empty_documents',
    'documents', 'tokens', 'unknown'}."""
    plan = open_data_plan(folder, key)
    documents = corpus.read_documents(corpus.Block(*plan.blocks[index]))
    if plan.splitter:
        documents = [sentences.split_sentences(plan.splitter, lines) for lines in documents]
    encoded = encode_documents(plan, documents)
    non_empty = [[ids for ids in document if len(ids)] for document in encoded]
    tokens = np.concatenate([ids for document in non_empty for ids in document] or [[]])
    counts = {'sentences': sum(map(len, documents)), 'tokens': len(tokens),
              'unknown': int((tokens == plan.unknown).sum()),
              'empty_sentences': sum(map(len, encoded)) - sum(map(len, non_empty)),
              'documents': sum(map(bool, non_empty)),
              'empty_documents': sum(not document for document in non_empty)}
    files.write_json(block_path(folder, index) + '.json', counts)
    token_store.write_store(block_path(folder, index), list(filter(None, non_empty)),
                            len(plan.ids))
    return counts


def encode_documents(plan, documents):
    """For each document a list of the ids (tokens,) int32 of each sentence."""
    texts = [text for document in documents for text in document]
    if plan.tokenized:
        all_ids = iter([np.array([plan.ids.get(token, plan.unknown) for token in text.split()],
                                 dtype='int32') for text in texts])
    else:
        all_ids = iter(plan.tokenizer.encode(texts))
    return [[next(all_ids) for _ in document] for document in documents]


def read_counts(folder, index):
    """The counts of `tokenize_block` for this block, or None if it has not finished."""
    if not token_store.is_complete(block_path(folder, index)):
        return None
    return files.read_json(block_path(folder, index) + '.json')


# Second step: tokens → examples


def assign_units(blocks, copies, num_shards, seed):
    """For each shard a list of its units [block, copy]. All units go to the shards in random order,
    so that the copies of a text lie in different places."""
    units = [[block, copy] for block in blocks for copy in copies]
    seeds = [seed % 2 ** 32, copies[0], SHARDS_STREAM]
    order = np.random.RandomState(seeds).permutation(len(units))
    return [sorted(units[i] for i in order[shard::num_shards]) for shard in range(num_shards)]


@functools.lru_cache(maxsize=1)
def read_assignment(folder, key, epoch):
    """(list of units for each shard; index of each block's first document in the store, and the
    end), from the file of `write_assignment`, which exists once all blocks are tokenized.

    epoch: index of the only copy; None: all copies of the plan.
    """
    plan = open_data_plan(folder, key)
    content = files.read_json(work_path(folder, ASSIGNMENT_FILE))
    block_documents = content['block_documents']
    units = assign_units([i for i, num_documents in enumerate(block_documents) if num_documents],
                         range(plan.copies) if epoch is None else [epoch], content['num_shards'],
                         plan.sampling.random_seed)
    return units, offsets_of(block_documents).tolist()


def write_assignment(folder, block_documents, num_shards):
    """Write the file for `read_assignment`. block_documents: number of documents of each block in
    the store."""
    files.write_json(work_path(folder, ASSIGNMENT_FILE), {'block_documents': block_documents,
                                                          'num_shards': num_shards})


def make_shard(folder, key, index, epoch=None):
    """Write the shard `index`, of all copies or of one epoch; returns its entry in the manifest."""
    plan = open_data_plan(folder, key)
    units, starts = read_assignment(folder, key, epoch)
    with token_store.TokenStore(work_path(folder, STORE_PREFIX), len(plan.ids)) as store:
        examples = join_examples([
            make_examples(store, starts[block], starts[block + 1], copy, plan.sampling,
                          plan.masking_vocabulary)
            for block, copy in units[index]])
    rng = np.random.RandomState([plan.sampling.random_seed % 2 ** 32, index, ORDER_STREAM])
    folder = folder if epoch is None else os.path.join(folder, epoch_name(epoch))
    path = os.path.join(folder, shard_name(index))
    shards.write_shard(path, examples.select(rng.permutation(examples.size)))
    return shards.describe_shard(path, examples)
