"""Exports a question-answering network with static shapes as a symbol, and times it."""
import logging
import os
import time

import mxnet as mx
import numpy as np

from bert import file_names, files
from bert.data.batches import Batch
from bert.data.squad.windows import WindowOptions
from bert.errors import UserError
from bert.export.symbol import export_network, import_network
from bert.jobs.runs import results, run_folder
from bert.jobs.runs.model_from_options import (
    apply_saved_task,
    build_question_answerer,
    resolve_lengths,
)
from bert.train.devices import pick_device, seed_everything
from bert.train.log import open_log, progress_bar

SCRIPT, LOG_FILE, FOLDER_NAME = 'static_export_squad.py', 'static_export_squad.log', 'static-export'
WARM_UP = 2         # batches that plan the memory and are not timed
MAX_DIFFERENCE = 1e-5         # largest allowed difference between the scores of symbol and network


def export_static_squad(options, explicit):
    """Export, and time. Returns a `JobResult`. Raises `UserError`."""
    options, saved_task = apply_saved_task(options, explicit)
    options = resolve_lengths(options, explicit)
    seq_length = options.seq_length
    WindowOptions(options.max_seq_length, options.doc_stride, options.max_query_length).check()
    device = pick_device(options.gpu)
    output_files = [LOG_FILE, file_names.CONFIG_FILE, file_names.VOCABULARY_FILE,
                    file_names.TOKENIZER_FILE, file_names.TOKENIZER_CONFIG_FILE,
                    file_names.TASK_FILE] + file_names.symbol_names(file_names.STATIC_NET_PREFIX)
    with run_folder.open_run_folder(options, FOLDER_NAME, SCRIPT, output_files,
                                    can_resume=False) as folder:
        seed_everything(options.seed)
        open_log(os.path.join(folder, LOG_FILE))
        task = dict(saved_task, max_len=options.max_seq_length, doc_stride=options.doc_stride,
                    max_query_length=options.max_query_length)
        model = build_question_answerer(options, task, device, seq_length)
        batch = random_windows(model, options.test_batch_size, seq_length, options.seed)
        values = {}
        if options.export:
            values.update(write_static_symbol(folder, model, batch))
        if options.evaluate:
            values.update(time_static_network(model, batch, options.num_batches))
        report = results.write_results(folder, options, seq_length=seq_length,
                                       input_size=model.network.input_size,
                                       batch_size=options.test_batch_size, **values)
    logging.info('results: %s', os.path.join(folder, file_names.RESULTS_FILE))
    return results.JobResult(report, folder)


def random_windows(model, size, length, seed):
    """A `Batch` of windows of random tokens without padding: the most work per batch."""
    rng = np.random.RandomState(seed % 2 ** 32)
    token_ids = rng.randint(len(model.tokenizer.vocab), size=(size, length)).astype('int32')
    segment_ids = np.zeros((size, length), dtype='int32')
    segment_ids[:, length // 2:] = 1
    return Batch(token_ids, segment_ids, np.full(size, length, dtype='float32'), None)


def write_static_symbol(folder, model, batch):
    """Write the symbol and the files that describe it; read it back and compare the scores."""
    paths = export_network(model.network, folder, file_names.STATIC_NET_PREFIX)
    with files.explain_write_errors(folder):
        model.write_description(folder)
    symbol = import_network(folder, file_names.STATIC_NET_PREFIX, model.device)
    inputs = [mx.nd.array(array, ctx=model.device, dtype=array.dtype) for array in batch[:3]]
    difference = float(np.abs(symbol(*inputs).asnumpy()
                              - model.outputs(batch).asnumpy()).max())
    logging.info('symbol: %s; largest difference from the scores of the network: %.1e',
                 ', '.join(paths), difference)
    if not difference <= MAX_DIFFERENCE:
        raise UserError('%s: the exported symbol differs by %g from the network, more than %g'
                        % (paths[0], difference, MAX_DIFFERENCE))
    return {'symbol': paths, 'largest_difference': difference}


def time_static_network(model, batch, num_batches):
    """Time `num_batches` one after the other: windows per second, and seconds of each batch."""
    for _ in range(WARM_UP):
        model.outputs(batch).wait_to_read()
    seconds = []
    with progress_bar(num_batches, unit='batch', description='timing') as bar:
        for _ in range(num_batches):
            start_time = time.perf_counter()
            model.outputs(batch).wait_to_read()
            seconds.append(time.perf_counter() - start_time)
            bar.update(1)
    size, length = batch.token_ids.shape
    windows_per_second = size / float(np.median(seconds))
    spread = 'one only' if num_batches == 1 else 'median of %d, %.3f to %.3f' % (
        num_batches, min(seconds), max(seconds))
    logging.info('Time cost=%.3f s a batch (%s), Throughput=%.2f samples/s (batch %d, %d tokens)',
                 np.median(seconds), spread, windows_per_second, size, length)
    return {'samples_per_second': windows_per_second, 'seconds_a_batch': seconds}
