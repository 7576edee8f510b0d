"""Runs a fixed command of each kind with tiny models and prints digests of the files they write.

    OMP_NUM_THREADS=1 ./run python tests/same_numbers.py > numbers.json

Every Python prints the same on one machine, and .ci/run compares two Pythons. (Another kind of CPU
runs other kernels, so the last digits differ.)
"""
import contextlib
import hashlib
import json
import os
import pathlib
import sys
import tempfile

from support import tiny

from bert import (
    create_pretraining_data,
    embedding,
    finetune_classifier,
    finetune_squad,
    quantize,
)

SAMPLE_TEXT = pathlib.Path(create_pretraining_data.__file__).with_name('sample_text.txt')


def run(script, *arguments):
    """Run a script's command line in this process, with its output on stderr."""
    with contextlib.redirect_stdout(sys.stderr):
        script.main(['--threads', '1', *map(str, arguments)])


def digest(folder, *patterns):
    """{file: SHA-256 of its bytes} of all files that match a pattern. Each pattern must match."""
    digests = {}
    for pattern in patterns:
        paths = sorted(folder.glob(pattern))
        assert paths, 'there is no %s in %s' % (pattern, folder)
        for path in paths:
            digests[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return digests


def fine_tuning(folder, checkpoint):
    """Fine-tune for 20 steps of BERTAdam."""
    run(finetune_classifier, '--task_name', 'SST', '--data_dir',
        tiny.write_sst(folder / 'SST-2', train=60), '--bert_checkpoint', checkpoint, '--epochs', 1,
        '--batch_size', 3, '--lr', 1e-3, '--max_len', 24, '--output_dir', folder / 'SST')
    return digest(folder / 'SST', '*/model.params')


def squad_prediction(folder, checkpoint):
    run(finetune_squad, '--train_file', tiny.write_squad(folder / 'train.json', 24, 1),
        '--dev_file', tiny.write_squad(folder / 'dev.json', 40, 2), '--bert_checkpoint', checkpoint,
        '--max_seq_length', 20, '--doc_stride', 5, '--max_query_length', 6, '--lr', 1e-3,
        '--epochs', 1, '--batch_size', 8, '--output_dir', folder / 'squad')
    return digest(folder / 'squad', '*/model.params', '*predictions.json')


def pretraining_data(folder, checkpoint):
    """Make shards of the sample text, with a vocabulary of its words."""
    words = sorted(set(SAMPLE_TEXT.read_text(encoding='utf-8').lower().split()))
    (folder / 'vocab.txt').write_text('\n'.join(tiny.TOKENS[:5] + tuple(words)) + '\n',
                                      encoding='utf-8')
    with contextlib.redirect_stdout(sys.stderr):
        create_pretraining_data.main([
            '--input_file', str(SAMPLE_TEXT), '--vocab', str(folder / 'vocab.txt'), '--output_dir',
            str(folder / 'shards'), '--num_workers', '1', '--max_seq_length', '64',
            '--max_predictions_per_seq', '10', '--dupe_factor', '3'])
    return digest(folder / 'shards', '*.npz')


def embeddings(folder, checkpoint):
    texts = [text for text, _ in tiny.sentences(50, 5)] + ['Café 电影', 'so ' * 60]
    (folder / 'texts.txt').write_text('\n'.join(texts) + '\n', encoding='utf-8')
    run(embedding, '--file', folder / 'texts.txt', '--bert_checkpoint', checkpoint,
        '--granularity', 'sentence', '--output', folder / 'vectors.npy')
    return digest(folder, 'vectors.npy')


def calibration(folder, checkpoint):
    """Quantize the network of `fine_tuning` in both modes that compute ranges."""
    digests = {}
    for mode in ('customize', 'entropy'):
        output = folder / ('int8-' + mode)
        run(quantize, '--model_dir', folder / 'SST', '--data_dir', folder / 'SST-2', '--calib_mode',
            mode, '--calib_batch_size', 4, '--num_calib_batches', 5, '--output_dir', output)
        digests[mode] = digest(output, '*.params', '*-symbol.json')
    return digests


def main():
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        os.chdir(temporary)
        checkpoint = tiny.write_checkpoint(folder / 'bert')
        jobs = (fine_tuning, squad_prediction, pretraining_data, embeddings, calibration)
        print(json.dumps({job.__name__: job(folder, checkpoint) for job in jobs}, indent=1))


if __name__ == '__main__':
    main()
