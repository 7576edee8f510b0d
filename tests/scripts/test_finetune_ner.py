"""finetune_ner.py on tiny models: files, numbers, schemes, every kind of data, every error."""
import json
import os

import pytest
from support import tiny

from bert import evaluate_ner, finetune_ner, jobs, predict
from bert.data.ner.schemes import convert_tags
from bert.data.ner.sentences import TagColumns, read_tagged_file

QUICK = ('--max_len', 24, '--lr', 1e-4, '--epochs', 2, '--batch_size', 16, '--round_to', 24)
RUN_FILES = {'options.json', 'log_train.txt', 'audit.json', 'results.json', 'curves.png',
             'test_predictions.conll', 'checkpoints.json'}
TRAIN_LINES = 'the O\ngood B-PER\ngreat I-PER\n\nbad B-LOC\nwas O\n'


def read_json(path):
    return json.loads(path.read_text(encoding='utf-8'))


@pytest.fixture(scope='module')
def ner(tmp_path_factory):
    """Folder with train.conll, dev.conll and test.conll."""
    return tiny.write_ner(tmp_path_factory.mktemp('ner') / 'data')


def own_files(folder, ending='conll', names=('train', 'dev', 'test')):
    return [item for name in names
            for item in ('--%s_file' % name, os.path.join(folder, '%s.%s' % (name, ending)))]


@pytest.fixture(scope='module')
def run(ner, roomy_bert, tmp_path_factory):
    """Folder of a run on own files."""
    folder = tmp_path_factory.mktemp('run') / 'run'
    finetune_ner.main([*map(str, QUICK), *own_files(ner), '--bert_checkpoint', roomy_bert,
                       '--output_dir', str(folder), '--seed', '3'])
    return folder


@pytest.fixture
def train(call, roomy_bert, in_tmp):
    """train(*flags) → Outcome, with the tiny model and few batches."""
    return lambda *flags: call(finetune_ner, '--bert_checkpoint', roomy_bert, *QUICK, *flags)


@pytest.fixture
def fail(train):
    """Function: flags → the error line."""
    def fail(*flags):
        outcome = train(*flags)
        assert outcome.code == 2, outcome.err
        assert outcome.err.count('error: ') == 1 and 'Traceback' not in outcome.err
        return outcome.error.removeprefix('error: ')
    return fail


def checkpoint(folder, name='best'):
    return folder / read_json(folder / 'checkpoints.json')[name]


def tags_of(path):
    return [sentence.tags for sentence in read_tagged_file(str(path))]


# ---- A run


@pytest.mark.exhaustive
def test_it_learns(train, in_tmp):
    """Words that always have a tag."""
    data = tiny.write_ner(in_tmp / 'data', train=400, dev=40, test=40)
    outcome = train(*own_files(data), '--epochs', 40, '--batch_size', 32, '--lr', 1e-3,
                    '--dropout', 0, '--output_dir', 'run')
    assert outcome.code == 0, outcome.err
    metrics = read_json(in_tmp / 'run' / 'results.json')['metrics']
    assert metrics['dev']['f1'] >= 0.9 and metrics['test']['f1'] >= 0.8


def test_run_writes_these_files_and_no_others(run):
    index = read_json(run / 'checkpoints.json')
    assert set(os.listdir(run)) == RUN_FILES | {index['newest'], index['best']}
    assert set(os.listdir(run / index['best'])) == {
        'model.params', 'optimizer.params', 'trainer.json', 'config.json', 'vocab.txt',
        'task.json', 'results.json'}
    assert read_json(run / index['best'] / 'task.json') == {
        'name': 'train', 'kind': 'token_classification', 'labels': list(tiny.TAGS),
        'pair': False, 'metrics': ['f1', 'precision', 'recall'], 'max_len': 24}


def test_the_audit(run, ner):
    audit = read_json(run / 'audit.json')
    rows = tiny.tagged_sentences(60, 1)
    words = [item for row in rows for item in row]
    entities = [tag[2:] for _, tag in words if tag.startswith('B-')]
    assert audit['segments']['train'] == {
        'file': os.path.join(ner, 'train.conll'), 'sentences': 60, 'words': len(words),
        'scheme': 'IOB2', 'tags_that_do_not_fit': 0, 'words_without_tokens': 0,
        'entities': {kind: entities.count(kind) for kind in ('LOC', 'PER')},
        'sentences_in_several_windows': 0,
        'token_length': dict(audit['segments']['train']['token_length'],
                             max=2 + max(map(len, rows)))}


def test_results_are_those_of_the_predictions(run, ner, call, in_tmp):
    """results.json, test_predictions.conll, predict.py --words and evaluate_ner.py agree."""
    report = read_json(run / 'results.json')
    for name in ('dev', 'test'):
        gold = os.path.join(ner, name + '.conll')
        outcome = call(predict, '--model_dir', run, '--words', '--file', gold, '--output',
                       name + '.conll')
        assert outcome.code == 0, outcome.err
        scores = jobs.evaluate_entities(gold=gold, predictions=in_tmp / (name + '.conll')).report
        assert scores['metrics']['dev'] == report['metrics'][name]
        assert scores['types'] == report['types'][name]
        assert report['metrics'][name]['predicted'] > 5
    assert (in_tmp / 'test.conll').read_text() == (run / 'test_predictions.conll').read_text()
    assert report['metrics']['dev']['gold'] == sum(
        tag[0] == 'B' for row in tiny.tagged_sentences(20, 2) for _, tag in row)
    assert len(report['history']) == 2 and report['steps'] == 8 and report['seed'] == 3
    assert list(report['history'][0]['metrics']['dev']) == ['f1', 'precision', 'recall']
    assert call(evaluate_ner, os.path.join(ner, 'test.conll'),
                run / 'test_predictions.conll').code == 0


def test_a_long_document_is_no_error(train, in_tmp):
    """A file without a blank line is one sentence, which is read in windows."""
    for name, count in (('train', 40), ('dev', 20)):
        tiny.write_conll(in_tmp / (name + '.conll'), [sum(tiny.tagged_sentences(count, 1), [])])
    assert train(*own_files(in_tmp, names=('train', 'dev')), '--epochs', 1, '--output_dir',
                 'run').code == 0
    audit = read_json(in_tmp / 'run' / 'audit.json')['segments']
    assert audit['train']['sentences'] == audit['train']['sentences_in_several_windows'] == 1
    assert read_json(in_tmp / 'run' / 'results.json')['steps'] > 0


def test_iob1_is_read_and_bioes_is_written(train, call, ner, in_tmp):
    for name in ('train', 'dev', 'test'):
        sentences = read_tagged_file(os.path.join(ner, name + '.conll'))
        tiny.write_conll(in_tmp / (name + '.conll'), [
            zip(sentence.words, convert_tags(sentence.tags, 'IOB1')) for sentence in sentences])
    outcome = train(*own_files(in_tmp), '--scheme', 'BIOES', '--output_dir', 'run', '--epochs', 1)
    assert outcome.code == 0, outcome.err
    audit = read_json(in_tmp / 'run' / 'audit.json')['segments']
    assert {segment['scheme'] for segment in audit.values()} == {'IOB1'}
    assert read_json(checkpoint(in_tmp / 'run') / 'task.json')['labels'] == ['O', *(
        '%s-%s' % (prefix, kind) for kind in ('LOC', 'PER') for prefix in 'BIES')]
    report = read_json(in_tmp / 'run' / 'results.json')
    scores = jobs.evaluate_entities(gold=in_tmp / 'test.conll',
                                    predictions=in_tmp / 'run' / 'test_predictions.conll').report
    assert scores['metrics']['dev'] == report['metrics']['test']
    flags = ('--model_dir', 'run', '--words', '--file', 'test.conll', '--output')
    assert call(predict, *flags, 'bioes.conll').code == 0
    assert call(predict, *flags, 'iob2.conll', '--scheme', 'IOB2').code == 0
    assert tags_of('iob2.conll') == [tuple(convert_tags(tags, 'IOB2'))
                                     for tags in tags_of('bioes.conll')]


def test_json_lines_are_read(train, ner, in_tmp, run):
    """The same sentences give the same run."""
    for name in ('train', 'dev', 'test'):
        (in_tmp / (name + '.jsonl')).write_text(''.join(
            json.dumps({'w': sentence.words, 't': sentence.tags}) + '\n'
            for sentence in read_tagged_file(os.path.join(ner, name + '.conll'))))
    outcome = train(*own_files(in_tmp, 'jsonl'), '--word_column', 'w', '--tag_column', 't',
                    '--seed', 3, '--output_dir', 'run')
    assert outcome.code == 0, outcome.err
    assert (in_tmp / 'run' / 'test_predictions.conll').read_text() == (
        run / 'test_predictions.conll').read_text()
    assert read_json(in_tmp / 'run' / 'results.json')['metrics'] == read_json(
        run / 'results.json')['metrics']


def test_seeds(train, ner, in_tmp, run):
    outcome = train(*own_files(ner), '--seeds', '3,4', '--output_dir', 'run')
    assert outcome.code == 0, outcome.err
    report = read_json(in_tmp / 'run' / 'results.json')
    single = read_json(run / 'results.json')['metrics']
    assert report['metrics']['dev']['f1']['values'][0] == single['dev']['f1']
    assert report['seeds'] == [3, 4]
    assert set(os.listdir(in_tmp / 'run')) == {'options.json', 'log_train.txt', 'results.json',
                                               'seed-3', 'seed-4'}


def test_flags_of_gluonnlp(call, ner, roomy_bert, in_tmp, run):
    """finetune_bert.py of its scripts/ner."""
    names = iter(('--train-path', '--dev-path', '--test-path'))
    paths = [item for path in own_files(ner)[1::2] for item in (next(names), path)]
    outcome = call(finetune_ner, *paths, '--bert_checkpoint', roomy_bert, '--dropout-prob', 0.1,
                   '--seed', 3, '--seq-len', 24, '--batch-size', 16, '--num-epochs', 2,
                   '--optimizer', 'bertadam', '--learning-rate', 1e-4, '--warmup-ratio', 0.1,
                   '--round_to', 24, '--save-checkpoint-prefix', 'run')
    assert outcome.code == 0, outcome.err
    assert read_json(in_tmp / 'run' / 'results.json')['metrics'] == read_json(
        run / 'results.json')['metrics']
    assert call(finetune_ner, *paths, '--cased', 'true').error.startswith(
        'error: --cased: the vocabulary decides: give --bert_dataset '
        'book_corpus_wiki_en_cased')


# ---- Tasks of the table


def test_conll_2003(train, in_tmp):
    """Its published layout: 4 columns by spaces, documents, IOB1; a task without --data_dir."""
    for name, count in (('train', 30), ('testa', 10), ('testb', 10)):
        path = in_tmp / 'ner_data' / 'conll2003' / ('eng.' + name)
        path.parent.mkdir(parents=True, exist_ok=True)
        blocks = ['-DOCSTART- -X- -X- O\n']
        for row in tiny.tagged_sentences(count, 4):
            tags = convert_tags([tag for _, tag in row], 'IOB1')
            blocks.append(''.join('%s NN I-NP %s\n' % (word, tag)
                                  for (word, _), tag in zip(row, tags)))
        path.write_text('\n'.join(blocks))
    assert train('--task_name', 'conll-2003', '--output_dir', 'run').code == 0
    audit = read_json(in_tmp / 'run' / 'audit.json')
    assert audit['task'] == 'CoNLL2003' and audit['segments']['train']['sentences'] == 30
    assert {segment['scheme'] for segment in audit['segments'].values()} == {'IOB1'}
    assert read_json(checkpoint(in_tmp / 'run') / 'task.json')['labels'] == ['O', *(
        '%s-%s' % (prefix, kind) for kind in ('LOC', 'MISC', 'ORG', 'PER') for prefix in 'BI')]
    assert (in_tmp / 'run' / 'log_CoNLL2003.txt').exists()


def test_a_tag_of_another_task(fail, in_tmp):
    (in_tmp / 'wnut17').mkdir()
    for name in ('train', 'dev'):
        (in_tmp / 'wnut17' / (name + '.conll')).write_text('EU\tO\n\nx\tB-person\ny\tB-PER\n')
    assert fail('--task_name', 'WNUT17') == (
        './wnut17/train.conll:4: tag "B-PER" found, but the entities of WNUT17 have the types '
        'corporation, creative-work, group, location, person, product')


@pytest.mark.exhaustive
def test_the_shared_wnut17(data_dir, train, in_tmp, monkeypatch):
    """NER_DIR names the parent of the folder."""
    monkeypatch.setenv('NER_DIR', str(data_dir / 'ner'))
    outcome = train('--task_name', 'wnut_17', '--epochs', 1, '--max_train_samples', 20,
                    '--max_eval_samples', 7, '--output_dir', 'run')
    assert outcome.code == 0, outcome.err
    segments = read_json(in_tmp / 'run' / 'audit.json')['segments']
    assert [segments[name]['sentences'] for name in ('train', 'dev', 'test')] == [20, 7, 1287]


# ---- Without training


def only_inference(call, *flags):
    return call(finetune_ner, '--only_inference', '--output_dir', 'again', *flags)


def test_only_inference_gives_the_scores_of_the_run(call, run, ner, in_tmp):
    outcome = only_inference(call, *own_files(ner, names=('dev', 'test')), '--bert_checkpoint',
                             checkpoint(run))
    assert outcome.code == 0, outcome.err
    again, before = (read_json(folder / 'results.json') for folder in (in_tmp / 'again', run))
    assert again['metrics'] == before['metrics'] and again['types'] == before['types']
    assert (in_tmp / 'again' / 'test_predictions.conll').read_text() == (
        run / 'test_predictions.conll').read_text()
    assert not list((in_tmp / 'again').glob('step-*'))


def test_only_inference_needs_a_whole_model(call, run, ner, roomy_bert, in_tmp):
    files = own_files(ner, names=('dev',))
    assert only_inference(call, *files).error == (
        'error: --only_inference: no model found: give --bert_checkpoint')
    assert only_inference(call, *files, '--bert_checkpoint', checkpoint(run), '--max_len', 9
                          ).error == ('error: --max_len: nothing is trained, and the model in '
                                      '--bert_checkpoint decides: leave it out')
    assert 'holds no model for a task; found: encoder' in only_inference(
        call, *files, '--bert_checkpoint', roomy_bert).error
    classifier = tiny.write_classifier(in_tmp / 'classifier')
    assert only_inference(call, *files, '--bert_checkpoint', classifier).error.endswith(
        'model.safetensors holds a model for classification')
    tagger = tiny.write_token_classifier(in_tmp / 'tagger', ('NOUN', 'VERB'))
    assert only_inference(call, *files, '--bert_checkpoint', tagger).error == (
        'error: the model has the class "NOUN", which is not the tag of an entity: expected O, and '
        'classes such as B-PER')


def test_a_model_that_does_not_know_a_type(call, in_tmp, caplog):
    tagger = tiny.write_token_classifier(in_tmp / 'tagger', ('O', 'B-PER', 'I-PER'))
    (in_tmp / 'dev.conll').write_text(TRAIN_LINES + '\ngood B-ORG\n')
    outcome = only_inference(call, '--dev_file', 'dev.conll', '--bert_checkpoint', tagger)
    assert outcome.code == 0, outcome.err
    assert ('dev.conll: 2 entities have types that the model does not know: LOC (1), ORG (1)'
            in caplog.messages)


@pytest.mark.parametrize('flags, message', [
    (('--only_calibration',), '--only_calibration: no model found: give --bert_checkpoint, or use '
                              'quantize.py --model_dir'),
    (('--only_calibration', '--bert_checkpoint', 'x', '--scheme', 'BIOES'),
     '--scheme: nothing is trained, and the model in --bert_checkpoint decides: leave it out')])
def test_flags_of_calibration(call, ner, in_tmp, flags, message):
    assert call(finetune_ner, *own_files(ner), *flags).error == 'error: ' + message


def test_only_calibration(call, run, ner, in_tmp):
    outcome = call(finetune_ner, *own_files(ner, names=('train', 'dev')), '--only_calibration',
                   '--bert_checkpoint', checkpoint(run), '--output_dir', 'int8',
                   '--num_calib_batches', 2)
    assert outcome.code == 0, outcome.err
    assert [name for name in os.listdir('int8') if name.endswith('-symbol.json')]
    report = read_json(in_tmp / 'int8' / 'results.json')
    assert {'f1', 'precision', 'recall'} <= set(json.dumps(report).split('"'))


# ---- Errors and warnings


@pytest.mark.parametrize('flags, message', [
    ((), 'no data: give --task_name, or --train_file and --dev_file'),
    (('--task_name', 'WNUT18'),
     'no task "WNUT18". Did you mean "WNUT17"? The tasks are WNUT17, CoNLL2003. Give your own '
     'files as --train_file and --dev_file'),
    (('--train_file', 'train.conll'),
     'training on files of your own needs --train_file and --dev_file'),
    (('--task_name', 'WNUT17', '--word_column', '1'),
     '--word_column is for files of your own: give --train_file and --dev_file'),
    (('--task_name', 'a/b', '--train_file', 'a', '--dev_file', 'b'),
     '--task_name a/b: this becomes the name of files: give a name without "/"'),
    (('--train_file', 'nowhere', '--dev_file', 'b'),
     'nowhere: can\'t be read: No such file or directory'),
    (('--task_name', 'WNUT17', '--max_len', 2),
     '--max_len 2 is too small: 2 special tokens and at least one token of each text need 3'),
    (('--task_name', 'WNUT17', '--scheme', 'BILOU'), None)])
def test_wrong_flags(fail, in_tmp, flags, message):
    error = fail(*flags, '--output_dir', 'run')
    assert error == message if message else 'invalid choice' in error


def test_no_files_of_a_task(fail, in_tmp, monkeypatch):
    expected = ('wnut17train.conll or train.conll, emerging.dev.conll or dev.conll, '
                'emerging.test.annotated or test.conll. Get the files from '
                'https://github.com/leondz/emerging_entities_17 and give their folder as '
                '--data_dir')
    assert fail('--task_name', 'WNUT17', '--data_dir', 'x') == (
        'WNUT17: no files in x/wnut17, x; expected ' + expected)
    (in_tmp / 'x').mkdir()
    (in_tmp / 'x' / 'train.conll').write_text('x O\n')
    assert fail('--task_name', 'WNUT17', '--data_dir', 'x') == (
        'WNUT17: no dev file among x/train.conll')
    monkeypatch.setenv('NER_DIR', 'y')
    error = fail('--task_name', 'WNUT17')
    assert error.startswith('WNUT17: no files in y/wnut17, y, ner_data/wnut17, ner_data, '
                            './wnut17, ., ')


@pytest.mark.parametrize('text, message', [
    (b'', ': no words in it'), (b'-DOCSTART- O\n\n', ': no words in it'),
    (b'the O\nfilm\n', ':2: 1 column found ("film"), expected a word and its tag'),
    (b'the O\ngood PER\n', ':2: the tag "PER" of "good": expected O, or a prefix (B-, I-, E-, '
                           'S-) and a type, such as B-PER'),
    (b'the O\nf\xe4lm O\n', ':2: not UTF-8 at byte 2 of the line: save the file as UTF-8'),
    (b'\xe2\x80\x8b B-PER\n', ': this vocabulary has no token for any word of the file'),
    (b'the O\nfilm O\n', ': no entity in it: all its tags are O')])
def test_wrong_files(fail, in_tmp, text, message):
    (in_tmp / 'train.conll').write_bytes(text)
    (in_tmp / 'dev.conll').write_text(TRAIN_LINES)
    flags = own_files('', names=('train', 'dev'))
    assert fail(*flags, '--output_dir', 'run') == 'train.conll' + message


def test_an_unknown_type_in_dev_is_a_warning(train, in_tmp, caplog):
    (in_tmp / 'train.conll').write_text(TRAIN_LINES * 2)
    (in_tmp / 'dev.conll').write_text('EU B-ORG\n\nso B-ORG\n\n' + TRAIN_LINES)
    outcome = train(*own_files('', names=('train', 'dev')), '--epochs', 1, '--output_dir', 'run')
    assert outcome.code == 0, outcome.err
    assert ('dev.conll: 2 entities have types that the model does not know: ORG (2)'
            in caplog.messages)
    assert read_json(in_tmp / 'run' / 'results.json')['metrics']['dev']['gold'] == 4


def test_tags_that_do_not_fit_the_scheme_are_a_warning(train, in_tmp, caplog):
    (in_tmp / 'train.conll').write_text(TRAIN_LINES * 2)
    (in_tmp / 'dev.conll').write_text('the O\ngood I-PER\n')
    outcome = train(*own_files('', names=('train', 'dev')), '--epochs', 1, '--output_dir', 'run',
                    '--input_scheme', 'IOB2')
    assert outcome.code == 0, outcome.err
    assert ('dev.conll: 1 tags do not fit the scheme IOB2; the first is I-PER ("good") in '
            'dev.conll:2; they are read by the rules of conlleval' in caplog.messages)


def test_columns_of_own_files(train, fail, in_tmp):
    for name in ('train', 'dev'):
        (in_tmp / (name + '.conll')).write_text('1 good B-PER x\n2 film O x\n')
    flags = own_files('', names=('train', 'dev'))
    assert fail(*flags, '--word_column', 'word') == (
        'column of the word "word": expected the number of a column of train.conll, from 0')
    assert fail(*flags, '--tag_column', 5, '--output_dir', 'a') == (
        'train.conll:1: 4 columns found ("1 good B-PER x"), expected a word and its tag in column '
        '5, from 0')
    assert train(*flags, '--word_column', 1, '--tag_column', 2, '--epochs', 1, '--output_dir',
                 'run').code == 0
    assert read_tagged_file('train.conll', TagColumns('1', '2'))[0].words == ('good', 'film')
    assert read_json(in_tmp / 'run' / 'audit.json')['segments']['train']['entities'] == {'PER': 1}
