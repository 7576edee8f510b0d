"""predict.py and deploy.py with a model for token classification: entities, words, scores."""
import json
import os

import pytest
from support import tiny

import bert
from bert import convert_checkpoint, deploy, jobs, predict, quantize
from bert.data.ner.schemes import convert_tags
from bert.data.ner.sentences import read_tagged_file
from bert.flags.token_classification import AGGREGATIONS

TEXTS = ['the films was good . fine awful', 'Bad\tgreat 电影', 'zzz ' * 60, '']


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tiny.write_token_classifier(tmp_path_factory.mktemp('entities') / 'model')


@pytest.fixture(scope='module')
def dev(tmp_path_factory):
    return tiny.write_conll(tmp_path_factory.mktemp('dev') / 'dev.conll',
                            tiny.tagged_sentences(20, 2))


@pytest.fixture(scope='module', params=['symbol', 'onnx'])
def exported(request, folder, tmp_path_factory, compute_in_new_process):
    export = {'symbol': jobs.export_symbol, 'onnx': jobs.export_onnx}[request.param]
    return export(model_dir=folder, output_dir=tmp_path_factory.mktemp('out') / 'e').folder


def rows_of(out):
    return [line.split('\t') for line in out.splitlines()]


@pytest.mark.parametrize('aggregation', AGGREGATIONS)
def test_a_line_an_entity(call, folder, aggregation):
    outcome = call(predict, '--model_dir', folder, '--aggregation', aggregation, *TEXTS)
    assert outcome.code == 0, outcome.err
    header, *rows = rows_of(outcome.out)
    assert header == ['text', 'type', 'score', 'start', 'end', 'entity']
    expected = [[str(i), record[0], '%.4f' % record.score, str(record.start), str(record.end),
                 ' '.join(text[record.start:record.end].split())]
                for i, (text, records) in enumerate(
                    zip(TEXTS, bert.open(folder)(TEXTS, aggregation)), 1) for record in records]
    assert rows == expected and len(rows) > 4


@pytest.mark.parametrize('aggregation', ['none', 'average'])
def test_a_line_of_json_a_text(call, folder, in_tmp, aggregation):
    (in_tmp / 'a.txt').write_text(''.join(text + '\n' for text in TEXTS[:3]) + '\n')
    outcome = call(predict, '--model_dir', folder, '--file', 'a.txt', '--format', 'jsonl',
                   '--aggregation', aggregation, '--batch_size', 2)
    lines = [json.loads(line) for line in outcome.out.splitlines()]
    assert [line['text'] for line in lines] == TEXTS
    for line, records in zip(lines, bert.open(folder)(TEXTS, aggregation), strict=True):
        assert list(line['entities'][0]) == list(records[0]._asdict()) if records else True
        assert [dict(entity, score=None) for entity in line['entities']] == [
            dict(record._asdict(), score=None) for record in records]
        assert [entity['score'] for entity in line['entities']] == pytest.approx(
            [record.score for record in records], abs=1e-5)
    assert lines[3]['entities'] == []


@pytest.mark.parametrize('scheme', [None, 'IOB1', 'BIOES'])
def test_tags_of_words(call, folder, dev, in_tmp, scheme):
    """From CoNLL columns and from JSON lines, written as either."""
    sentences = read_tagged_file(dev)
    tags = list(bert.open(folder).tag_words(sentence.words for sentence in sentences))
    expected = [(sentence.words, tuple(convert_tags(row, scheme) if scheme else row))
                for sentence, row in zip(sentences, tags)]
    (in_tmp / 'words.jsonl').write_text(''.join(
        json.dumps({'w': sentence.words}) + '\n' for sentence in sentences))
    (in_tmp / 'words.txt').write_text('\n'.join(
        ''.join('%d %s\n' % (i, word) for i, word in enumerate(sentence.words))
        for sentence in sentences))
    flags = ('--scheme', scheme) if scheme else ()
    for source, column, output in ((dev, (), 'a.conll'),
                                   ('words.jsonl', ('--word_column', 'w'), 'b.jsonl'),
                                   ('words.txt', ('--word_column', 1), 'c.conll')):
        outcome = call(predict, '--model_dir', folder, '--words', '--file', source, *column,
                       *flags, '--output', output, '--format',
                       'jsonl' if output.endswith('jsonl') else 'tsv')
        assert outcome.code == 0, outcome.err
        assert [sentence[:2] for sentence in read_tagged_file(output)] == expected
    assert len(set(sum((row for _, row in expected), ()))) > 1


def test_sentences_are_no_words(call, folder, in_tmp, caplog):
    (in_tmp / 'plain.txt').write_text('so good\nthe film was bad\n')
    assert call(predict, '--model_dir', folder, '--words', '--file', 'plain.txt').code == 0
    assert caplog.messages == [
        'plain.txt: the lines have 2 to 4 columns, and column 0 is read as the word of a line: '
        'leave out --words if the lines are sentences']


@pytest.mark.parametrize('flags, message', [
    (('--pair', 'a', 'b'), '--pair: the model in {} is for token classification'),
    (('--word_column', '1', 'a'), '--word_column: it needs --words'),
    (('--scheme', 'IOB2', 'a'), '--scheme: it needs --words'),
    (('--words', '--aggregation', 'max', '--file', 'x'),
     '--words and --aggregation: with --words, each word has the tag of its first token'),
    (('--words', 'a'),
     '--words: name a file of words with --file: CoNLL columns or .jsonl'),
    (('--words', '--file', '-'),
     '--words: name a file of words with --file: CoNLL columns or .jsonl'),
    (('--words', '--file', 'nowhere'), 'nowhere: can\'t be read: No such file or directory'),
    (('--words', '--file', 'empty.txt'), 'empty.txt: no words in it'),
    (('--words', '--word_column', 'w', '--file', 'empty.txt'),
     'column of the word "w": expected the number of a column of empty.txt, from 0'),
    (('--file', 'a.tsv'),
     '--file a.tsv: this model reads one text: name the column with --text_columns')])
def test_wrong_flags(call, folder, in_tmp, flags, message):
    (in_tmp / 'empty.txt').write_text('\n')
    outcome = call(predict, '--model_dir', folder, *flags)
    assert (outcome.code, outcome.error) == (2, 'error: ' + message.format(folder))


def test_flags_of_entities_are_for_such_models(call, in_tmp):
    classifier = tiny.write_classifier(in_tmp / 'classifier')
    for flags in (('--aggregation', 'max'), ('--words',)):
        assert call(predict, '--model_dir', classifier, *flags, 'good').error == (
            'error: %s: the model in %s is for classification' % (flags[0], classifier))


def test_a_scheme_needs_tags(call, dev, in_tmp):
    folder = tiny.write_token_classifier(in_tmp / 'model', ('NOUN', 'VERB', 'DET'))
    flags = ('--model_dir', folder, '--words', '--file', dev)
    assert call(predict, *flags, '--scheme', 'IOB2').error.startswith(
        'error: the model has the class "NOUN", which is not the tag of an entity: expected O')
    outcome = call(predict, *flags)
    assert outcome.code == 0 and {row[1] for row in rows_of(outcome.out) if row[1:]} <= {
        'NOUN', 'VERB', 'DET'}


# ---- Exported models


def test_an_exported_model_writes_the_same(call, folder, exported, dev, in_tmp):
    for flags in (('--aggregation', 'average', *TEXTS), ('--words', '--file', dev),
                  ('--words', '--file', dev, '--scheme', 'BIOES')):
        ours, theirs = (rows_of(call(script, '--model_dir', path, *flags).out)
                        for script, path in ((deploy, exported), (predict, folder)))
        assert len(ours) > 4 and [row[:2] + row[3:] for row in ours] == [
            row[:2] + row[3:] for row in theirs]
        if not flags[0] == '--words':
            assert [float(row[2]) for row in ours[1:]] == pytest.approx(
                [float(row[2]) for row in theirs[1:]], abs=2e-4)


def test_an_exported_model_is_scored(call, folder, exported, dev, in_tmp):
    assert call(predict, '--model_dir', folder, '--words', '--file', dev, '--output',
                'a.conll').code == 0
    expected = jobs.evaluate_entities(gold=dev, predictions='a.conll').metrics['dev']
    outcome = call(deploy, '--model_dir', exported, '--evaluate', '--dev_file', dev, '--output',
                   'scores.json')
    assert outcome.code == 0, outcome.err
    scores = json.loads((in_tmp / 'scores.json').read_text())['metrics']['dev']
    assert scores == {name: expected[name] for name in ('precision', 'recall', 'f1')}
    assert 'dev (%s, 20 examples): precision:' % dev in outcome.out
    for flags, message in (
            (('--aggregation', 'max'), '--aggregation: it is not for --evaluate'),
            (('--scheme', 'IOB2'), '--scheme: it needs --words')):
        assert call(deploy, '--model_dir', exported, '--evaluate', '--dev_file', dev,
                    *flags).error == 'error: ' + message


def test_what_an_exported_model_cannot_find_is_counted(call, exported, in_tmp, caplog):
    (in_tmp / 'dev.conll').write_text('good B-NOBODY\nfilm I-NOWHERE\n')
    assert call(deploy, '--model_dir', exported, '--evaluate', '--dev_file', 'dev.conll').code == 0
    assert caplog.messages[:2] == [
        'dev.conll: 1 tags do not fit the scheme IOB2; the first is I-NOWHERE ("film") in '
        'dev.conll:2; they are read by the rules of conlleval',
        'dev.conll: 2 entities have types that the model does not know: NOBODY (1), NOWHERE (1)']


def test_scores_need_a_file(call, exported, in_tmp):
    assert call(deploy, '--model_dir', exported, '--evaluate').error == (
        'error: the model was trained on "model", which is not a known task: name a task with '
        '--task_name, or files of your own with --dev_file')
    assert call(deploy, '--model_dir', exported, '--evaluate', '--task_name', 'WNUT17',
                '--data_dir', 'x').error.startswith('error: WNUT17: no files in x/wnut17, x')
    (in_tmp / 'train.conll').write_text('EU O\n')
    assert call(deploy, '--model_dir', exported, '--evaluate', '--task_name', 'WNUT17',
                '--data_dir', '.').error == 'error: WNUT17: no dev file'


def test_the_files_of_an_export(folder, exported):
    names = set(os.listdir(exported))
    assert {'config.json', 'vocab.txt', 'task.json'} <= names
    assert json.loads(open(os.path.join(exported, 'task.json')).read()) == {
        'name': 'model', 'kind': 'token_classification', 'labels': list(tiny.TAGS), 'pair': False,
        'metrics': ['f1', 'precision', 'recall'], 'max_len': 40}


# ---- Conversion and INT8


def test_converted_there_and_back(call, folder, in_tmp):
    for arguments in ((folder, 'gluon'), ('gluon', 'transformers')):
        outcome = call(convert_checkpoint, *arguments)
        assert outcome.code == 0, outcome.err
        assert 'BertForTokenClassification' in outcome.out
        assert '5 classes: O, B-LOC, I-LOC, B-PER, I-PER' in outcome.out
    config = json.loads((in_tmp / 'transformers' / 'config.json').read_text())
    assert config['architectures'] == ['BertForTokenClassification']
    assert list(config['id2label'].values()) == list(tiny.TAGS) and 'problem_type' not in config
    expected = bert.open(folder)(TEXTS)
    for name in ('gluon', 'transformers'):
        assert bert.open(name)(TEXTS) == expected


@pytest.mark.torch
@pytest.mark.filterwarnings('ignore')
def test_transformers_opens_what_was_converted(call, folder, torch, transformers, in_tmp):
    assert call(convert_checkpoint, folder, 'gluon').code == 0
    assert call(convert_checkpoint, 'gluon', 'transformers').code == 0
    network = transformers.AutoModelForTokenClassification.from_pretrained('transformers')
    tokenizer = transformers.AutoTokenizer.from_pretrained('transformers')
    assert list(network.config.id2label.values()) == list(tiny.TAGS)
    model = bert.open('gluon')
    for text in TEXTS[:2]:
        with torch.no_grad():
            logits = network(**tokenizer(text, return_tensors='pt')).logits[0, 1:-1]
        records = model(text, 'none')
        best = logits.softmax(dim=-1).max(dim=-1)
        assert [(record.tag, record.index) for record in records] == [
            (tiny.TAGS[label], i) for i, label in enumerate(best.indices.tolist()) if label]
        assert [record.score for record in records] == pytest.approx(
            [best.values[record.index].item() for record in records], abs=1e-4)


@pytest.fixture(scope='module')
def run(tmp_path_factory, roomy_bert, dev):
    """A run with the data it was trained on, as flags for quantize.py."""
    folder = tmp_path_factory.mktemp('run')
    train = tiny.write_conll(folder / 'train.conll', tiny.tagged_sentences(160, 1))
    jobs.finetune_ner(train_file=train, dev_file=dev, bert_checkpoint=roomy_bert, max_len=24,
                      epochs=4, lr=2e-3, batch_size=8, dropout=0, optimizer='adamw', threads=1,
                      output_dir=str(folder / 'run'))
    return '--model_dir', folder / 'run', '--train_file', train, '--dev_file', dev


@pytest.mark.parametrize('mode', ['customize', 'fused'])
def test_quantized(call, run, dev, in_tmp, mode, request):
    flags = ('--calib_batch_size', 8, '--num_calib_batches', 3)
    if mode == 'fused':
        request.getfixturevalue('kernels')
        flags = ()
    outcome = call(quantize, *run, '--calib_mode', mode, *flags, '--output_dir', 'quantized')
    assert outcome.code == 0, outcome.err
    report = json.loads((in_tmp / 'quantized' / 'results.json').read_text())
    scores = report['scores']['dev']
    assert report['calibrated_on'] == (24 if flags else 0) and scores['examples'] == 20
    for name, script, path in (('float', predict, run[1]), ('int8', deploy, 'quantized')):
        assert call(script, '--model_dir', path, '--words', '--file', dev, '--output',
                    name + '.conll').code == 0
        expected = jobs.evaluate_entities(gold=dev, predictions=name + '.conll').metrics['dev']
        assert scores[name] == {key: expected[key] for key in ('precision', 'recall', 'f1')}
    assert scores['float']['f1'] > 0.3
    assert scores['loss']['value'] == pytest.approx(
        1 - scores['int8']['f1'] / scores['float']['f1'])
    assert scores['loss']['low'] <= scores['loss']['value'] <= scores['loss']['high']
    if mode == 'fused':     # the same numbers, from the weights in float32
        texts = ('--aggregation', 'none', '--format', 'jsonl', *TEXTS)
        outcome = call(deploy, '--model_dir', 'quantized', *texts)
        assert outcome.out == call(predict, '--model_dir', run[1], '--dtype', 'int8', *texts).out
        assert outcome.out != call(predict, '--model_dir', run[1], *texts).out


def test_tuned(call, run, in_tmp, fast_int8):
    (in_tmp / 'conf.yaml').write_text('tuning: {accuracy_criterion: {relative: 0.9}}')
    outcome = call(quantize, '--tune', *run, '--calib_batch_size', 8, '--num_calib_batches', 2,
                   '--output_dir', 'int8')
    assert outcome.code == 0, outcome.err
    report = json.loads((in_tmp / 'int8' / 'results.json').read_text())
    assert (report['reached'], report['trial'], report['kept_in_float']) == (True, 1, [])
    scores = report['scores']['dev, second half']
    assert report['searched_on']['examples'] + scores['examples'] == 20
    assert scores['metric'] == 'f1' and scores['loss']['value'] == pytest.approx(
        1 - scores['int8']['f1'] / scores['float']['f1'])
    assert bert.open('int8').network.is_quantized


def test_calibration_needs_tokens(call, run, in_tmp):
    (in_tmp / 'empty.jsonl').write_text('{"tokens": ["\\u200b"], "tags": ["O"]}\n')
    assert call(quantize, *run, '--train_file', 'empty.jsonl', '--output_dir', 'int8').error == (
        'error: empty.jsonl: this vocabulary has no token for any word of the file')
