"""A static-shape question-answering network as a symbol, and how fast it is."""
import logging
import os
import time

import mxnet as mx
import numpy as np

from bert import file_names, files
from bert.data.batches import Batch
from bert.data.squad.windows import Options
from bert.errors import UserError
from bert.export.symbol import export_network, import_network
from bert.jobs.runs import model_from_flags, results, run_folder
from bert.jobs.runs.model_from_flags import build_qa_model, resolve_lengths, take_saved
from bert.train.devices import pick_device, seed_everything
from bert.train.log import open_log, progress

SCRIPT, LOG, NAME = 'static_export_squad.py', 'static_export_squad.log', 'static-export'
WARM_UP = 2         # batches that plan the memory, not timed
SAME = 1e-5         # largest difference of the symbol's scores from the network's


def run(args):
    """Export and time as the parsed flags of static_export_squad.py say; returns the report in
    results.json. Raises `UserError`."""
    if not (args.export or args.evaluate):
        raise UserError('nothing to do: give --export, --evaluate or both')
    model_from_flags.check_model_flags(args)
    saved = take_saved(args)
    seq_length = resolve_lengths(args)
    Options(args.max_seq_length, args.doc_stride, args.max_query_length).check()
    device = pick_device(args.gpu)
    folder = run_folder.open_folder(args, NAME, SCRIPT,
                                    [LOG, file_names.CONFIG, file_names.VOCABULARY, file_names.TASK]
                                    + file_names.symbol_names(file_names.STATIC_NET))
    seed_everything(args.seed)
    open_log(os.path.join(folder, LOG))
    task = dict(saved, max_len=args.max_seq_length, doc_stride=args.doc_stride,
                max_query_length=args.max_query_length)
    model = build_qa_model(args, task, device, seq_length)
    batch = random_batch(model, args.test_batch_size, seq_length, args.seed)
    values = {}
    if args.export:
        values.update(export(folder, model, batch, device))
    if args.evaluate:
        values.update(evaluate(model, batch, args.num_batches, device))
    report = results.write_results(folder, args, seq_length=seq_length,
                                   input_size=model.network.input_size,
                                   batch_size=args.test_batch_size, **values)
    logging.info('results: %s', os.path.join(folder, file_names.RESULTS))
    return report


def random_batch(model, size, length, seed):
    """Windows of random tokens without padding: the most work that a batch can be."""
    rng = np.random.RandomState(seed % 2 ** 32)
    token_ids = rng.randint(len(model.tokenizer.vocab), size=(size, length)).astype('int32')
    segment_ids = np.zeros((size, length), dtype='int32')
    segment_ids[:, length // 2:] = 1
    return Batch(token_ids, segment_ids, np.full(size, length, dtype='float32'), None)


def export(folder, model, batch, device):
    """Write the symbol, and what makes the folder describe itself; read it back and compare."""
    paths = export_network(model.network, folder, file_names.STATIC_NET)
    with files.writing(folder):
        model.write_description(folder)
    symbol = import_network(folder, file_names.STATIC_NET, device)
    inputs = [mx.nd.array(array, ctx=device, dtype=array.dtype) for array in batch[:3]]
    difference = float(np.abs(symbol(*inputs).asnumpy()
                              - model.outputs(batch, device).asnumpy()).max())
    logging.info('symbol: %s; largest difference of its scores from the network\'s: %.1e',
                 ', '.join(paths), difference)
    if not difference <= SAME:
        raise UserError('%s: the symbol read back differs by %g from the network, more than %g'
                        % (paths[0], difference, SAME))
    return {'symbol': paths, 'largest_difference': difference}


def evaluate(model, batch, num_batches, device):
    """Seconds a batch and windows a second over `num_batches`, each waited for."""
    for _ in range(WARM_UP):
        model.outputs(batch, device).wait_to_read()
    seconds = []
    with progress(num_batches, unit='batch', description='timing') as bar:
        for _ in range(num_batches):
            started = time.perf_counter()
            model.outputs(batch, device).wait_to_read()
            seconds.append(time.perf_counter() - started)
            bar.update(1)
    size, length = batch.token_ids.shape
    speed = size / float(np.median(seconds))
    logging.info('Time cost=%.3f s a batch (median of %d, %.3f to %.3f), Throughput=%.2f samples/s '
                 '(batch %d, %d tokens)', np.median(seconds), num_batches, min(seconds),
                 max(seconds), speed, size, length)
    return {'samples_per_second': speed, 'seconds_a_batch': seconds}
