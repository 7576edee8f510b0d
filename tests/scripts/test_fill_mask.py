"""Models that fill masks on the command line: predict.py, exports, INT8, pre-training's runs."""
import dataclasses
import json

import mxnet as mx
import numpy as np
import pytest
from reference import numpy_bert
from support import tiny
from support.small_squad import read_json

import bert
from bert import deploy, predict, quantize, run_pretraining
from bert.data.text.readers import Example
from bert.export import export, to_onnx
from bert.jobs.exporting.serving_folder import sample_text_batch
from bert.model.inference import InterleavedNetwork
from bert.pipelines.exported import open_exported_pipeline
from bert.pipelines.masked_texts import make_masked_text_set
from bert.quantization.calibrate import Quantizer

CONFIG = dataclasses.replace(tiny.CONFIG, units=32, hidden_size=64, num_heads=1, max_length=64)
TEXTS = ['the film [MASK] so good .', 'it was [MASK] and [MASK] .', '[MASK]']
TSV_HEADER = ['text', 'mask', 'score', 'word', 'sequence']


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A masked language model of transformers, and texts."""
    folder = tmp_path_factory.mktemp('mlm')
    tiny.write_transformers(folder / 'model', numpy_bert.random_tensors(CONFIG), CONFIG,
                            architectures=['BertForPreTraining'])
    for name, seed in (('train', 1), ('dev', 2)):
        (folder / (name + '.txt')).write_text(''.join(
            ' '.join(np.random.RandomState(seed).choice(['so', '影', 'good'], 1 + i % 9)) + ' %s\n'
            % text for i, (text, _) in enumerate(tiny.sentences(40, seed))))
    return folder


@pytest.fixture(scope='module')
def expected(folder):
    """The records of TEXTS, computed in memory."""
    return [result if isinstance(result[0], list) else [result] for result in bert.open(
        str(folder / 'model'), task='fill_mask')(TEXTS, top_k=2)]


def check_lines(out, expected, atol=1e-4):
    header, *rows = [line.split('\t') for line in out.splitlines()]
    assert header == TSV_HEADER
    words = [((str(i), str(k)), word) for i, masks in enumerate(expected, 1)
             for k, words in enumerate(masks, 1) for word in words]
    for row, (place, word) in zip(rows, words, strict=True):
        assert tuple(row[:2]) == place and float(row[2]) == pytest.approx(word.score, abs=atol)
        assert row[3:] == [word.word, word.sequence]


# ---- predict.py


def test_lines(call, folder, expected, tmp_path):
    outcome = call(predict, '--model_dir', folder / 'model', '--top_k', 2, *TEXTS)
    assert outcome.code == 0, outcome.err
    check_lines(outcome.out, expected)
    (tmp_path / 'texts.txt').write_text(''.join(text + '\n' for text in TEXTS))
    outcome = call(predict, '--model_dir', folder / 'model', '--top_k', 2, '--batch_size', 1,
                   '--file', tmp_path / 'texts.txt', '--output', tmp_path / 'out.tsv')
    assert outcome.code == 0, outcome.err
    check_lines((tmp_path / 'out.tsv').read_text(), expected)


def test_json(call, folder, expected):
    outcome = call(predict, '--model_dir', folder / 'model', '--top_k', 2, '--format', 'jsonl',
                   *TEXTS)
    rows = [json.loads(line) for line in outcome.out.splitlines()]
    assert [row['text'] for row in rows] == TEXTS
    for row, masks in zip(rows, expected):
        for values, words in zip(row['masks'], masks, strict=True):
            assert [dict(value, score=0) for value in values] == [
                word._replace(score=0)._asdict() for word in words]
            np.testing.assert_allclose([value['score'] for value in values],
                                       [word.score for word in words], atol=1e-5)


def test_targets_and_the_default_of_top_k(call, folder, caplog):
    flags = ('--model_dir', folder / 'model', TEXTS[0])
    outcome = call(predict, *flags, '--targets', 'bad,Poor')
    assert {line.split('\t')[3] for line in outcome.out.splitlines()[1:]} == {'bad', 'poor'}
    assert '1 of 2 targets are not in the vocabulary' in caplog.text
    assert len(call(predict, *flags).out.splitlines()) == 1 + 5


def test_a_column_of_a_table_and_a_text_that_is_cut(call, folder, expected, tmp_path):
    (tmp_path / 'texts.csv').write_text('a,b\n1,"%s"\n2,[MASK]%s\n' % (TEXTS[0], ' so' * 80))
    outcome = call(predict, '--model_dir', folder / 'model', '--file', tmp_path / 'texts.csv',
                   '--text_columns', 'b', '--top_k', 2)
    check_lines('\n'.join(outcome.out.splitlines()[:3]), expected[:1])
    assert outcome.err == ('warning: 1 of 2 texts were cut at 64 tokens, the length of the model; '
                           'no mask was cut off\n')


@pytest.mark.parametrize('arguments,message', [
    (('the film',), 'arguments:1: no [MASK] in the text: write it where a word is missing'),
    (('[MASK]', ''), 'arguments:2: the text is empty: expected a text with [MASK]'),
    (('--file', 'texts.txt'), 'texts.txt:2: no [MASK] in the text'),
    (('--file', 'texts.csv', '--text_columns', 'a'), 'texts.csv:3: no [MASK] in the text'),
    (('so ' * 62 + '[MASK]',), 'arguments:1: the last [MASK] is token 63, but the model reads only '
                               '62 '),
    (('[MASK]', '--pair'), '--pair: the model in model is for fill mask'),
    (('[MASK]', '--top_k', '0'), 'argument --top_k: 0 found, expected a whole number from 1 on'),
    (('[MASK]', '--targets', ''), 'argument --targets: an empty text found, expected a value'),
    (('[MASK]', '--targets', 'a,,b'), 'argument --targets: an empty text found, expected a value'),
])
def test_errors(call, folder, monkeypatch, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'model').symlink_to(folder / 'model')
    (tmp_path / 'texts.txt').write_text('[MASK]\nfilm\n')
    (tmp_path / 'texts.csv').write_text('a\n[MASK]\nfilm\n')
    outcome = call(predict, '--model_dir', 'model', *arguments)
    assert outcome.code == 2 and outcome.error.startswith('error: ' + message)


def test_flags_of_other_models(call, tmp_path, tiny_bert):
    classifier = tiny.write_classifier(tmp_path / 'classifier')
    for flags in (('--top_k', 2), ('--targets', 'good')):
        assert call(predict, '--model_dir', classifier, 'good', *flags).error == (
            'error: %s: the model in %s is for classification' % (flags[0], classifier))
    assert 'holds no model for a task; found: encoder' in call(
        predict, '--model_dir', tiny_bert, '[MASK]').error


# ---- Exported models


@pytest.fixture(scope='module')
def exports(folder):
    """{name: exported folder}"""
    for name, script in (('symbol', export), ('onnx', to_onnx)):
        script.main(['--model_dir', str(folder / 'model'), '--output_dir', str(folder / name)])
    return folder


@pytest.mark.parametrize('name,engine', [
    ('symbol', 'mxnet'), ('onnx', 'onnxruntime'), ('onnx', 'openvino')])
def test_exported_models(call, exports, expected, name, engine):
    flags = ('--model_dir', exports / name, '--engine', engine)
    outcome = call(deploy, *flags, '--top_k', 2, *TEXTS)
    assert outcome.code == 0, outcome.err
    check_lines(outcome.out, expected)
    assert len(call(deploy, *flags, '[MASK]').out.splitlines()) == 1 + 5
    results = bert.open(str(exports / name), runtime=engine)(TEXTS, top_k=2)
    assert [result if isinstance(result[0], list) else [result] for result in results] == [
        [[word._replace(score=pytest.approx(word.score, abs=1e-5)) for word in words]
         for words in masks] for masks in expected]


@pytest.mark.parametrize('name', ['symbol', 'onnx'])
def test_an_export_gives_the_logits_of_all_tokens(exports, name):
    model = open_exported_pipeline(str(exports / name), None, None, mx.cpu(), 1)
    tensors = numpy_bert.random_tensors(CONFIG)
    token_ids, segment_ids, valid_length, _ = sample_text_batch(model)
    outputs = model.network(token_ids, segment_ids, valid_length)
    assert outputs.shape == (*token_ids.shape, CONFIG.vocab_size)
    states = numpy_bert.sequence(tensors, CONFIG, token_ids[:2], segment_ids[:2], valid_length[:2])
    logits = numpy_bert.token_logits(tensors, CONFIG, states,
                                     [np.arange(token_ids.shape[1])] * 2)
    for row, expected_row, length in zip(outputs, logits, valid_length.astype(int)):
        np.testing.assert_allclose(row[:length], expected_row[:length], atol=1e-4)
    report = read_json(exports / name / 'results.json')
    assert (report['task'], report['texts'], report['max_len']) == ('fill_mask', 16, 64)
    assert (exports / name / 'task.json').read_text().count('"fill_mask"') == 1


def test_an_onnx_file_holds_a_tied_embedding_once(exports):
    import onnx
    shapes = [tuple(tensor.dims) for tensor in
              onnx.load(str(exports / 'onnx' / 'fill_mask.onnx')).graph.initializer]
    assert shapes.count((CONFIG.vocab_size, CONFIG.units)) == 1
    assert (CONFIG.units, CONFIG.vocab_size) not in shapes


def test_scores_and_latency_of_an_export(call, exports, tmp_path):
    for name in ('symbol', 'onnx'):
        outcome = call(deploy, '--model_dir', exports / name, '--evaluate', '--dev_file',
                       exports / 'dev.txt', '--output', tmp_path / (name + '.json'))
        assert outcome.code == 0, outcome.err
        assert read_json(tmp_path / (name + '.json'))['metrics'] == {
            'dev': accuracy(exports, 'model')}
    outcome = call(deploy, '--model_dir', exports / 'symbol', '--measure', '--lengths', '8,16',
                   '--batch_sizes', 2, '--rounds', 2)
    assert outcome.code == 0 and len(outcome.out.splitlines()) >= 4


def accuracy(folder, name):
    """The scores of a model on dev.txt, without the script's reader of files."""
    model = bert.open(str(folder / name), **({'task': 'fill_mask'} if name == 'model' else {}))
    lines = (folder / 'dev.txt').read_text().splitlines()
    dev = make_masked_text_set(model, 'dev', 'x', [
        Example((line,), None, 'x', i) for i, line in enumerate(lines)])
    scores = dev.scores(dev.outputs(model, 5))
    assert 0 < scores['accuracy'] < 1
    return scores


@pytest.mark.parametrize('arguments,message', [
    (('[MASK]', '--version_2'), '--version_2: the model in symbol is for fill mask'),
    (('[MASK]', '--pair'), '--pair: the model in symbol is for fill mask'),
    (('--evaluate',), '--dev_file is needed: a text file with one text per line. The model "model" '
                      'fills masks'),
    (('--evaluate', '--task_name', 'SST'), '--task_name: the model in symbol is for fill mask'),
    (('--evaluate', '--targets', 'a'), '--targets: it is not for --evaluate'),
    (('--evaluate', '--dev_file', 'none.txt'), 'none.txt: can\'t be read'),
    (('[MASK]', 'film'), 'arguments:2: no [MASK] in the text: write it where a word is missing'),
    (('[MASK]', ''), 'arguments:2: the text is empty: expected a text with [MASK]'),
    (('--file', 'texts.csv', '--text_columns', 'a'), 'texts.csv:3: no [MASK] in the text'),
])
def test_refusals_of_deploy(call, exports, monkeypatch, arguments, message):
    monkeypatch.chdir(exports)
    (exports / 'texts.csv').write_text('a\n[MASK]\nfilm\n')
    outcome = call(deploy, '--model_dir', 'symbol', *arguments)
    assert outcome.code == 2 and outcome.error.startswith('error: ' + message)
    assert outcome.err.count('error: ') == 1 and not outcome.out.splitlines()[1:]    # no words


# ---- INT8


@pytest.mark.parametrize('mode', ['fused', *(
    pytest.param(mode, marks=pytest.mark.exhaustive)
    for mode in ('customize', 'none', 'naive', 'entropy'))])
def test_int8(call, folder, in_tmp, expected, mode, request):
    if mode == 'fused':
        request.getfixturevalue('kernels')
    batches = () if mode in ('fused', 'none') else (
        '--calib_batch_size', 4, '--num_calib_batches', 3)
    outcome = call(quantize, '--model_dir', folder / 'model', '--train_file', folder / 'train.txt',
                   '--dev_file', folder / 'dev.txt', '--calib_mode', mode, '--output_dir', 'int8',
                   *batches)
    assert outcome.code == 0, outcome.err
    report = read_json(in_tmp / 'int8' / 'results.json')
    scores = report['scores']['dev']
    assert (scores['metric'], scores['examples']) == ('accuracy', 40)
    assert scores['float'] == accuracy(folder, 'model')
    assert report['calibrated_on'] == (12 if batches else 0)
    int8 = bert.open('int8')
    assert int8.network.is_quantized
    lines = (folder / 'dev.txt').read_text().splitlines()
    dev = make_masked_text_set(int8, 'dev', 'x', [
        Example((line,), None, 'x', i) for i, line in enumerate(lines)])
    assert scores['int8'] == dev.scores(dev.outputs(int8, 7))
    targets = ['good', 'bad', 'so']
    exact = bert.open(str(folder / 'model'), task='fill_mask')(TEXTS[0], targets=targets)
    rounded = {word.word: word.score for word in int8(TEXTS[0], targets=targets)}
    for word in exact:
        assert rounded[word.word] == pytest.approx(word.score, abs=0.1)
    assert rounded != {word.word: word.score for word in exact}
    outcome = call(deploy, '--model_dir', 'int8', '--evaluate', '--dev_file', folder / 'dev.txt')
    assert 'accuracy:%.4f' % scores['int8']['accuracy'] in outcome.out


@pytest.mark.exhaustive
def test_tuning(call, folder, in_tmp, fast_int8):
    outcome = call(quantize, '--model_dir', folder / 'model', '--train_file', folder / 'train.txt',
                   '--dev_file', folder / 'dev.txt', '--tune', '--output_dir', 'tuned',
                   '--calib_batch_size', 4, '--num_calib_batches', 2)
    assert outcome.code in (0, 1), outcome.err
    report = read_json(in_tmp / 'tuned' / 'results.json')
    assert report['searched_on']['name'] == 'dev, first half'
    assert bert.open('tuned').network.is_quantized


def test_the_product_of_a_tied_decoder_is_an_operator_of_its_own(folder):
    filler = bert.open(str(folder / 'model'), task='fill_mask')
    names = Quantizer(InterleavedNetwork(filler.network)).operators
    assert {'bert.decoder.0', 'bert.decoder.3'} <= set(names)
    assert not [name for name in names if 'word_embed' in name]


@pytest.mark.parametrize('flags,message', [
    ((), '--train_file is needed: a text file with one text per line. The model "model" fills '
         'masks, and some tokens of the file are masked'),
    (('--train_file', 'train.txt'), '--dev_file is needed: a text file'),
    (('--task_name', 'SST'), '--task_name: the model in model is for fill mask'),
    (('--label_column', 'a'), '--label_column: the model in model is for fill mask'),
    (('--train_file', 'dev.txt', '--dev_file', 'dev.txt'), '--train_file and --dev_file are the '
                                                           'same file'),
    (('--train_file', 'train.txt', '--dev_file', 'dev.txt', '--text_columns', 'a,b'),
     '--text_columns a,b: the model reads one text: name one column'),
])
def test_refusals_of_quantize(call, folder, monkeypatch, tmp_path, flags, message):
    monkeypatch.chdir(folder)
    outcome = call(quantize, '--model_dir', 'model', '--output_dir', tmp_path / 'out', *flags)
    assert outcome.code == 2 and outcome.error.startswith('error: ' + message)


# ---- Pre-training


def test_a_run_of_pretraining_fills_masks(call, folder, in_tmp):
    """It starts from a masked language model and trains it on a text of one's own."""
    tiny.write_corpus(in_tmp / 'corpus.txt', 8)
    outcome = call(run_pretraining, '--raw', '--data', 'corpus.txt', '--bert_checkpoint',
                   folder / 'model', '--max_seq_length', 24, '--max_predictions_per_seq', 3,
                   '--batch_size', 4, '--num_steps', 3, '--lr', 1e-3, '--ckpt_dir', 'run')
    assert outcome.code == 0, outcome.err
    filler = bert.open('run', task='fill_mask')
    before = bert.open(str(folder / 'model'), task='fill_mask')
    words, old_words = (model(TEXTS[0], targets=['good', 'so']) for model in (filler, before))
    assert words != old_words
    for word, old_word in zip(words, old_words):
        assert word.score == pytest.approx(old_word.score, abs=0.1)
    outcome = call(predict, '--model_dir', 'run', '--top_k', 2, TEXTS[0])
    check_lines(outcome.out, [[filler(TEXTS[0], top_k=2)]])
    assert call(export, '--model_dir', 'run', '--task', 'fill_mask').code == 0
    outcome = call(deploy, '--model_dir', 'run/export', '--top_k', 2, TEXTS[0])
    check_lines(outcome.out, [[filler(TEXTS[0], top_k=2)]])
