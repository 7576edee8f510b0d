"""The seeds' commands for export and tuning, parsed as printed and run on tiny models."""
import json
import os
import pathlib
import re

import pytest
from support import tiny
from support.seeds_page import ALL_COMMANDS, EXPORT, PAGE, TUNING, binary, entailment, write_data

from bert import finetune_classifier, run_glue_tune, run_squad_tune
from bert.data.squad import metric as squad_metric
from bert.export import export
from bert.flags.options import parse
from bert.jobs import lpot_example
from bert.jobs.int8 import tuning
from bert.jobs.lpot_example import to_example_keys
from bert.model.weights import catalogue
from bert.quantization.config import read_config
from bert.train.trainer import Trainer

SCRIPTS = {'run_glue_tune.py': run_glue_tune, 'run_squad_tune.py': run_squad_tune,
           'run_squad.py': run_squad_tune}
SHELL_VALUES = {'$TASK_NAME': 'MRPC', '$GLUE_DIR': 'glue_data', '$SQUAD_DIR': 'squad',
                '/path/to/SQuAD/dataset': 'squad'}


def commands(*scripts):
    """[(script module, arguments)] of the page, with the shell's variables filled in."""
    pairs = []
    for _, script, arguments, _ in ALL_COMMANDS:
        if script in scripts:
            for old, new in SHELL_VALUES.items():
                arguments = [word.replace(old, new) for word in arguments]
            pairs.append((SCRIPTS.get(os.path.basename(script), export), arguments))
    return pairs


def with_values(arguments, **values):
    """The arguments with other values of some flags."""
    new_arguments = list(arguments)
    for flag, value in values.items():
        new_arguments[new_arguments.index('--' + flag) + 1] = str(value)
    return new_arguments


def read_scores(folder):
    lines = (folder / 'eval_results.txt').read_text().splitlines()
    assert lines == sorted(lines)
    return {key: float(value) for key, value in (line.split(' = ') for line in lines)}


@pytest.mark.parametrize('script,arguments', commands(EXPORT, *TUNING))
def test_parsed_word_for_word(script, arguments):
    options = parse(script.OPTIONS, '', arguments)[0].as_dict()
    words = [word for argument in arguments for word in argument.split('=')]
    for flag, value in zip(words, words[1:] + ['--']):
        if flag.startswith('--'):
            option = options[flag[2:]]
            assert option is True if value.startswith('--') else option == type(option)(value)


def test_export(call, roomy_bert, in_tmp):
    (script, arguments), = commands(EXPORT)
    tiny.write_sst(in_tmp / 'SST-2')
    assert call(finetune_classifier, '--task_name', 'SST', '--bert_checkpoint', roomy_bert,
                '--epochs', 1, '--output_dir', 'run').code == 0
    checkpoint, = (in_tmp / 'run').glob('step-*')
    outcome = call(script, *with_values(arguments, model_parameters=checkpoint / 'model.params',
                                        output_dir='out'))
    assert outcome.code == 0, outcome.err
    assert json.loads((in_tmp / 'out' / 'task.json').read_text())['max_len'] == 128
    assert (in_tmp / 'out' / 'classification-symbol.json').exists()


def test_fine_tune_and_tune_on_glue(call, roomy_bert, in_tmp, fast_int8, data_dir):
    """The two commands run as printed, one after the other, with the printed configuration."""
    write_data(in_tmp)
    page = PAGE.read_text(encoding='utf-8')
    snippet = re.search(r'\.\. code-block:: yaml\n\n((?:    .*\n|\n)+)', page).group(1)
    seed, = (data_dir.parent / 'seeds').glob('004*.txt')
    lines = [line[4:] for line in snippet.splitlines() if line.strip()]
    assert '\n'.join(lines) in seed.read_text(encoding='utf-8').replace('\n\n', '\n')
    (in_tmp / 'conf.yaml').write_text('\n'.join(lines) + '\n')
    assert read_config('conf.yaml').max_trials == 300
    (train, train_arguments), _, (tune, tune_arguments) = commands('examples/run_glue_tune.py')
    outcome = call(train, *with_values(train_arguments, model_name_or_path=roomy_bert,
                                       output_dir='checkpoint'))
    assert outcome.code == 0, outcome.err
    scores = read_scores(in_tmp / 'checkpoint')
    assert set(scores) == {'acc', 'acc_and_f1', 'eval_loss', 'f1', 'global_step', 'loss'}
    assert scores['global_step'] == 15 and scores['acc_and_f1'] == pytest.approx(
        (scores['acc'] + scores['f1']) / 2)     # 40 examples in batches of 8, three epochs
    outcome = call(tune, *with_values(tune_arguments, model_name_or_path='checkpoint',
                                      output_dir='checkpoint'))
    check_tuned('checkpoint/tuned', outcome)
    assert {'trials.png', 'trials.txt', 'model_bert_MRPC_quantized_customize-symbol.json'} < set(
        os.listdir('checkpoint/tuned'))
    tuned_scores = read_scores(in_tmp / 'checkpoint')
    assert set(tuned_scores) == {'acc', 'acc_and_f1', 'eval_loss', 'f1'}
    assert tuned_scores['acc'] == pytest.approx(scores['acc'])


def test_tune_on_squad(call, roomy_bert, in_tmp, fast_int8):
    write_data(in_tmp)
    (_, train_arguments), = commands('examples/run_squad.py')
    outcome = call(run_squad_tune, *with_values(train_arguments, model_name_or_path=roomy_bert,
                                                output_dir='checkpoint'))
    assert outcome.code == 0, outcome.err
    scores = read_scores(in_tmp / 'checkpoint')
    assert set(scores) == {'exact_match', 'f1', 'global_step', 'loss', 'total'}
    predictions = json.loads((in_tmp / 'checkpoint' / 'predictions.json').read_text())
    content = json.loads((in_tmp / 'squad' / 'dev-v1.1.json').read_text())
    answers = {qa['id']: [answer['text'] for answer in qa['answers']]
               for paragraph in content['data'][0]['paragraphs'] for qa in paragraph['qas']}
    assert squad_metric.evaluate_v1(answers, predictions) == pytest.approx(
        {key: scores[key] for key in ('exact_match', 'f1')})
    (_, arguments), = commands('examples/run_squad_tune.py')
    tiny.write_squad(in_tmp / 'squad' / 'dev-v1.1.json', 40, 2)
    outcome = call(run_squad_tune, *with_values(arguments, model_name_or_path='checkpoint',
                                                output_dir='checkpoint'))
    check_tuned('checkpoint/tuned', outcome)
    assert 'model_bert_squad_quantized_customize-symbol.json' in os.listdir('checkpoint/tuned')


def check_tuned(folder, outcome):
    """The exit status agrees with the report: a tiny network may miss the goal."""
    report = json.loads(pathlib.Path(folder, 'results.json').read_text())
    verdict, = {scores['verdict'] for scores in report['scores'].values()}
    assert outcome.code == int(not report['reached'] or verdict == 'missed'), outcome.err


@pytest.mark.parametrize('task,keys', [
    ('CoLA', {'mcc'}), ('SST-2', {'acc'}), ('STS-B', {'pearson', 'spearmanr', 'corr'}),
    ('RTE', {'acc'}), ('MNLI', {'acc'}), ('WNLI', {'acc'}), ('QNLI', {'acc'}),
    ('QQP', {'acc', 'f1', 'acc_and_f1'})])
def test_keys_of_tasks(call, roomy_bert, in_tmp, task, keys):
    write_data(in_tmp)
    tiny.write_pairs(in_tmp / 'glue_data' / 'STS-B', ('sentence1', 'sentence2', 'score'),
                     lambda similarity: 5 * similarity)
    for name, columns in (('WNLI', ('sentence1', 'sentence2', 'label')),
                          ('QNLI', ('question', 'sentence', 'label')),
                          ('QQP', ('question1', 'question2', 'is_duplicate'))):
        tiny.write_pairs(in_tmp / 'glue_data' / name, columns,
                         entailment if name == 'QNLI' else binary)
    for kind in ('train', 'dev'):
        tiny.write_tsv(in_tmp / 'glue_data' / 'CoLA' / (kind + '.tsv'), None,
                       [('x', label, '', text) for text, label in tiny.sentences(30, 1)])
    outcome = call(run_glue_tune, '--model_name_or_path', roomy_bert, '--task_name', task,
                   '--do_train', '--do_eval', '--num_train_epochs', 1, '--data_dir',
                   'glue_data/' + task, '--output_dir', 'out')
    assert outcome.code == 0, outcome.err
    assert set(read_scores(in_tmp / 'out')) == keys | {'eval_loss', 'global_step', 'loss'}
    assert (in_tmp / 'out-MM').exists() == (task == 'MNLI')
    if task == 'MNLI':
        assert set(read_scores(in_tmp / 'out-MM')) == {'acc', 'eval_loss', 'global_step', 'loss'}
    metrics = json.loads((in_tmp / 'out' / 'results.json').read_text())['metrics']
    for key, value in to_example_keys(next(iter(metrics.values()))).items():
        assert read_scores(in_tmp / 'out')[key] == pytest.approx(value)


def test_names_of_models():
    for name in ('bert-base-uncased', 'google-bert/bert-large-uncased-whole-word-masking'):
        model, corpus = catalogue.find_hub_release(name)
        assert tuple(catalogue.resolve_names(model, corpus)) == (model, corpus)
    assert lpot_example._model_keywords('bert-base-uncased') == {
        'bert_model': 'bert_12_768_12', 'bert_dataset': 'book_corpus_wiki_en_uncased'}


@pytest.mark.parametrize('arguments,reason', [
    ((), 'nothing to do: give --do_train, --do_eval or --tune'),
    (('--do_eval', '--task_name', 'XNLI'), '--task_name XNLI: expected one of CoLA, SST-2, MRPC, '
                                          'STS-B, QQP, MNLI, QNLI, RTE, WNLI'),
    (('--do_eval', '--model_name_or_path', 'bert-base-uncased'),
     '--model_name_or_path bert-base-uncased: this model is not trained for a task: give '
     '--do_train, or the folder that --do_train made'),
    (('--do_eval', '--learning_rate', 1), '--learning_rate: it needs --do_train'),
    (('--do_eval', '--config', 'x'), '--config: it needs --tune'),
    (('--do_train', '--num_train_epochs', 2.5),
     '--num_train_epochs 2.5: expected a whole number of epochs')])
def test_refusals(call, roomy_bert, in_tmp, arguments, reason):
    outcome = call(run_glue_tune, '--model_name_or_path', roomy_bert, '--task_name', 'MRPC',
                   '--data_dir', 'x', '--output_dir', 'out', *arguments)
    assert (outcome.code, outcome.error) == (2, 'error: ' + reason)


def test_lengths_are_those_of_training(call, roomy_bert, in_tmp):
    write_data(in_tmp)
    command = ('--model_name_or_path', roomy_bert, '--task_name', 'MRPC', '--data_dir',
               'glue_data/MRPC', '--output_dir', 'out')
    assert call(run_glue_tune, *command, '--do_train', '--num_train_epochs', 1, '--max_seq_length',
                40).code == 0
    evaluation_command = ('--model_name_or_path', 'out') + command[2:]
    assert call(run_glue_tune, *evaluation_command, '--do_eval', '--max_seq_length', 128).error == (
        'error: --max_seq_length 128: the model was trained with 40, and needs the same here: '
        'leave the flag out, or train another model with --do_train')
    assert call(run_glue_tune, *evaluation_command, '--do_eval').code == 0
    assert call(run_squad_tune, '--model_name_or_path', 'out', '--do_eval', '--output_dir',
                'out').error == (
        'error: --model_name_or_path out: the model is for classification, but the task is SQuAD')


def test_resume(call, roomy_bert, in_tmp, fast_int8, monkeypatch):
    """A run that was killed in each of its three parts ends with the results of a whole run."""
    write_data(in_tmp)
    (in_tmp / 'conf.yaml').write_text('tuning: {accuracy_criterion: {relative: 0.9}}')
    command = ('--model_name_or_path', roomy_bert, '--task_name', 'MRPC', '--data_dir',
               'glue_data/MRPC', '--do_train', '--do_eval', '--tune', '--num_train_epochs', 2)
    assert call(run_glue_tune, *command, '--output_dir', 'whole').code == 0

    def add_kill(work):
        """`work`, followed by a kill of the process."""
        def work_and_die(*arguments, **options):
            work(*arguments, **options)
            raise KeyboardInterrupt
        return work_and_die
    for owner, name in ((Trainer, 'save'), (lpot_example, 'evaluate_glue'),
                        (tuning, 'write_trials')):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, add_kill(getattr(owner, name)))
            assert call(run_glue_tune, *command, '--output_dir', 'parts',
                        *() if name == 'save' else ('--resume',)).code
    assert call(run_glue_tune, *command, '--output_dir', 'parts', '--resume').code == 0
    assert (in_tmp / 'parts' / 'eval_results.txt').read_text() == \
        (in_tmp / 'whole' / 'eval_results.txt').read_text()
    reports = [json.loads((in_tmp / name / 'tuned' / 'results.json').read_text())
               for name in ('whole', 'parts')]
    assert reports[0]['scores'] == reports[1]['scores']
    assert call(run_glue_tune, *command[:-1], 9, '--output_dir', 'parts', '--resume').error == (
        'error: --epochs 9: the run in parts was started with 2; leave the flag out, or start '
        'another run')
    assert call(run_glue_tune, *command, '--output_dir', 'parts', '--resume',
                '--overwrite_output_dir').error == \
        'error: --resume and --overwrite_output_dir: give one of the two'


def test_an_unknown_model(call, in_tmp):
    error = call(run_squad_tune, '--model_name_or_path', 'bert-base-uncase', '--output_dir', 'out',
                 '--do_eval').error
    assert error.startswith('error: --model_name_or_path bert-base-uncase: no such folder, and no '
                            'model of that name. Did you mean "bert-base-uncased"? Models: ')
    assert call(run_squad_tune, '--task_name', 'MRPC', '--model_name_or_path', 'x', '--output_dir',
                'out', '--do_eval').error == 'error: --task_name MRPC: expected SQuAD'
