"""convert_checkpoint.py: folders convert both ways, bit for bit, and other scripts use them."""
import json
import os
import resource

import numpy as np
import pytest
from reference import numpy_bert
from safetensors.numpy import load_file
from support import tiny
from support.processes import start

from bert import convert_checkpoint, finetune_classifier, predict

LABELS = {'0': 'sad', '1': 'glad', '2': 'so so'}
ENCODER_PREFIXES = ('bert.embeddings', 'bert.encoder')
TASK_ARCHITECTURES = ('BertForSequenceClassification', 'BertForQuestionAnswering')
# {architecture: (prefixes of its tensor names, entries of its config.json)}
ARCHITECTURES = {
    'BertModel': (ENCODER_PREFIXES + ('bert.pooler',), {}),
    'BertForMaskedLM': (ENCODER_PREFIXES + ('cls.predictions',), {}),
    'BertForNextSentencePrediction': (
        ENCODER_PREFIXES + ('bert.pooler', 'cls.seq_relationship'), {}),
    'BertForPreTraining': (ENCODER_PREFIXES + ('bert.pooler', 'cls.'), {}),
    'BertForSequenceClassification': (
        ENCODER_PREFIXES + ('bert.pooler', 'classifier'),
        {'id2label': LABELS, 'label2id': {label: int(i) for i, label in LABELS.items()},
         'problem_type': 'single_label_classification'}),
    'BertForQuestionAnswering': (ENCODER_PREFIXES + ('qa_outputs',), {}),
}
GLUON_FILES = {'model.params', 'config.json', 'vocab.txt', 'conversion.json'}
TRANSFORMERS_FILES = {'model.safetensors', 'config.json', 'vocab.txt', 'tokenizer_config.json',
                      'tokenizer.json', 'conversion.json'}


def all_tensors(num_outputs=3):
    rng = np.random.RandomState(5)
    tensors = numpy_bert.random_tensors(tiny.CONFIG)
    for name, rows in (('classifier', num_outputs), ('qa_outputs', 2)):
        tensors[name + '.weight'] = rng.randn(rows, tiny.CONFIG.units).astype('float32')
        tensors[name + '.bias'] = rng.randn(rows).astype('float32')
    return tensors


def write_model(folder, architecture, **settings):
    """Write a tiny model as transformers saves it. Returns (path, tensors)."""
    prefixes, config = ARCHITECTURES[architecture]
    tensors = {name: array for name, array in all_tensors().items() if name.startswith(prefixes)}
    if architecture == 'BertModel':
        tensors = {name.replace('bert.', '', 1): array for name, array in tensors.items()}
    path = tiny.write_transformers(folder, tensors, architectures=[architecture],
                                   **dict(config, **settings))
    return path, tensors


def read_json(path):
    with open(path, encoding='utf-8') as file:
        return json.load(file)


def same_bits(tensors, expected):
    return {name: array.tobytes() for name, array in tensors.items()} == \
        {name: array.tobytes() for name, array in expected.items()}


# Both directions


@pytest.mark.parametrize('architecture', ARCHITECTURES)
def test_round_trip(architecture, call, in_tmp):
    path, tensors = write_model(in_tmp / 'hf', architecture)
    outcome = call(convert_checkpoint, path, 'gluon')
    assert outcome.code == 0, outcome.err
    assert '(gluon): %s, %d tensors' % (architecture, len(tensors)) in outcome.out
    task = {'task.json'} if architecture in TASK_ARCHITECTURES else set()
    assert set(os.listdir('gluon')) == GLUON_FILES | task
    outcome = call(convert_checkpoint, 'gluon', 'back')
    assert outcome.code == 0, outcome.err
    assert set(os.listdir('back')) == TRANSFORMERS_FILES | task
    assert same_bits(load_file('back/model.safetensors'), tensors)
    expected, config = read_json(in_tmp / 'hf' / 'config.json'), read_json('back/config.json')
    assert {key: config[key] for key in expected} == expected
    vocabularies = [(in_tmp / name / 'vocab.txt').read_bytes() for name in ('hf', 'back')]
    assert vocabularies[0] == vocabularies[1]
    assert read_json('back/tokenizer_config.json')['do_lower_case'] is True
    assert call(convert_checkpoint, 'back', 'again').code == 0
    assert (in_tmp / 'again' / 'model.params').read_bytes() == \
        (in_tmp / 'gluon' / 'model.params').read_bytes()


def test_the_report(call, in_tmp):
    path, tensors = write_model(in_tmp / 'hf', 'BertForSequenceClassification')
    assert call(convert_checkpoint, path, 'gluon').code == 0
    report = read_json('gluon/conversion.json')
    assert report['head'] == 'classification' and report['format'] == 'gluon'
    assert report['classes'] == ['sad', 'glad', 'so so'] and report['left_out'] == []
    assert report['values'] == sum(array.size for array in tensors.values())
    assert report['versions']['mxnet'] == '1.9.1'


def test_tensors_without_a_place_in_the_head_are_named(call, in_tmp):
    tensors = {name: array for name, array in all_tensors().items()
               if not name.startswith('qa_outputs')}
    path = tiny.write_transformers(in_tmp / 'hf', tensors, id2label=LABELS)
    outcome = call(convert_checkpoint, path, 'gluon')
    assert 'left out, because BertForSequenceClassification has no place for them: ' \
           'classifier.bias, classifier.weight, decoder.0.bias' in outcome.out
    assert len(read_json('gluon/conversion.json')['left_out']) == 7


def test_gluon_to_gluon_makes_a_folder_of_a_file(call, in_tmp):
    path, _ = write_model(in_tmp / 'hf', 'BertModel')
    call(convert_checkpoint, path, 'gluon')
    os.remove('gluon/conversion.json')
    outcome = call(convert_checkpoint, 'gluon/model.params', 'whole', '--to', 'gluon')
    assert outcome.code == 0, outcome.err
    assert set(os.listdir('whole')) == GLUON_FILES
    assert (in_tmp / 'whole' / 'model.params').read_bytes() == \
        (in_tmp / 'gluon' / 'model.params').read_bytes()


# Use by other scripts


def expected_probabilities(tensors, rows):
    """Probabilities for rows of token ids, computed by NumPy."""
    probabilities = []
    for ids in rows:
        states = numpy_bert.sequence(tensors, tiny.CONFIG, [ids], np.zeros((1, len(ids)), int))
        logits = numpy_bert.dense(numpy_bert.pooled(tensors, states), tensors, 'classifier')
        probabilities.append(numpy_bert.softmax(logits)[0])
    return np.array(probabilities)


TEXTS = ('the film was good', 'awful')


def test_predict_uses_the_labels_of_transformers(call, in_tmp):
    path, tensors = write_model(in_tmp / 'hf', 'BertForSequenceClassification')
    rows = [[2] + [tiny.TOKENS.index(word) for word in text.split()] + [3] for text in TEXTS]
    expected = expected_probabilities(tensors, rows)
    call(convert_checkpoint, path, 'gluon')
    call(convert_checkpoint, 'gluon', 'back')
    outputs = []
    for folder in (path, 'gluon', 'back'):
        outcome = call(predict, '--model_dir', folder, '--format', 'jsonl', *TEXTS)
        assert outcome.code == 0, outcome.err
        outputs.append(outcome.out)
    assert outputs[0] == outputs[1] == outputs[2]
    for line, probabilities in zip(outputs[0].splitlines(), expected):
        answer = json.loads(line)
        assert list(answer['probabilities']) == ['sad', 'glad', 'so so']
        np.testing.assert_allclose(list(answer['probabilities'].values()), probabilities,
                                   atol=1e-4)


def test_pairs_need_a_flag_if_the_checkpoint_does_not_say(call, in_tmp):
    path, _ = write_model(in_tmp / 'hf', 'BertForSequenceClassification')
    text_lines = call(predict, '--model_dir', path, *TEXTS).out.splitlines()
    assert text_lines[0] == 'label\tprobability\ttext' and len(text_lines) == 3
    pair_lines = call(predict, '--model_dir', path, '--pair', *TEXTS).out.splitlines()
    assert pair_lines[0] == 'label\tprobability\ttext_a\ttext_b' and len(pair_lines) == 2
    call(convert_checkpoint, path, 'gluon', '--pair')
    assert call(predict, '--model_dir', 'gluon', *TEXTS).out.splitlines() == pair_lines


def test_a_score_stays_a_score(call, in_tmp):
    prefixes = ARCHITECTURES['BertForSequenceClassification'][0]
    tensors = {name: array for name, array in all_tensors(num_outputs=1).items()
               if name.startswith(prefixes)}
    path = tiny.write_transformers(in_tmp / 'hf', tensors)      # one output, no problem_type
    expected = call(predict, '--model_dir', path, *TEXTS)
    assert expected.out.startswith('score\ttext\n'), expected.err
    call(convert_checkpoint, path, 'gluon')
    call(convert_checkpoint, 'gluon', 'back')
    assert read_json('back/config.json')['problem_type'] == 'regression'
    assert call(predict, '--model_dir', 'back', *TEXTS).out == expected.out


def test_a_run_converts_to_transformers(call, in_tmp, tiny_bert, sst):
    finetune_classifier.main(['--bert_checkpoint', tiny_bert, '--task_name', 'SST', '--data_dir',
                              sst, '--output_dir', 'run', '--epochs', '1', '--max_len', '24'])
    assert call(convert_checkpoint, 'run', 'hf').code == 0
    config = read_json('hf/config.json')
    assert config['architectures'] == ['BertForSequenceClassification']
    assert config['id2label'] == {'0': '0', '1': '1'}
    assert read_json('hf/tokenizer_config.json')['model_max_length'] == 24
    expected = call(predict, '--model_dir', 'run', *TEXTS)
    assert call(predict, '--model_dir', 'hf', *TEXTS).out == expected.out
    assert call(predict, '--model_dir', 'hf', '--pair', *TEXTS).error == \
        'error: --pair: the model in hf was trained on single texts'


def test_a_run_beside_the_model_that_it_started_from(call, in_tmp, sst):
    """The run's checkpoint has its own task, whatever other files the folder holds."""
    path, _ = write_model(in_tmp / 'both', 'BertForSequenceClassification')
    assert call(finetune_classifier, '--bert_checkpoint', path, '--task_name', 'SST', '--data_dir',
                sst, '--output_dir', 'both', '--epochs', 1, '--max_len', 24).code == 0
    step = next((in_tmp / 'both').glob('step-*'))
    expected = call(predict, '--model_dir', step, *TEXTS).out
    assert '\n0\t' in expected or '\n1\t' in expected
    assert call(predict, '--model_dir', 'both', *TEXTS).out == expected


def test_finetuning_starts_from_any_converted_folder(call, in_tmp, sst):
    path, _ = write_model(in_tmp / 'hf', 'BertForPreTraining')
    call(convert_checkpoint, path, 'gluon')
    parameters = []
    for folder in (path, 'gluon'):
        assert call(finetune_classifier, '--bert_checkpoint', folder, '--task_name', 'SST',
                    '--data_dir', sst, '--output_dir', 'run', '--overwrite_output_dir',
                    '--epochs', 1, '--max_len', 24).code == 0
        parameters.append(next((in_tmp / 'run').glob('step-*/model.params')).read_bytes())
    assert parameters[0] == parameters[1]


@pytest.mark.torch
@pytest.mark.parametrize('legacy', [False, True])
def test_a_pytorch_file_gives_the_same_results(torch, legacy, call, in_tmp):
    path, tensors = write_model(in_tmp / 'hf', 'BertForSequenceClassification')
    expected = call(predict, '--model_dir', path, *TEXTS).out
    os.remove(in_tmp / 'hf' / 'model.safetensors')
    torch.save({name: torch.tensor(array) for name, array in tensors.items()},
               str(in_tmp / 'hf' / 'pytorch_model.bin'),
               _use_new_zipfile_serialization=not legacy)
    assert call(predict, '--model_dir', path, *TEXTS).out == expected
    assert call(convert_checkpoint, path, 'gluon').code == 0
    assert call(convert_checkpoint, 'gluon', 'back').code == 0
    assert same_bits(load_file('back/model.safetensors'), tensors)


# Errors


def test_an_output_that_exists(call, in_tmp):
    path, _ = write_model(in_tmp / 'hf', 'BertModel')
    (in_tmp / 'mine').mkdir()
    (in_tmp / 'mine' / 'thesis.tex').write_text('years')
    for flags in ((), ('--overwrite',)):
        assert call(convert_checkpoint, path, 'mine', *flags).error == \
            'error: mine: it exists, but no conversion made it: choose another OUTPUT'
    assert (in_tmp / 'mine' / 'thesis.tex').read_text() == 'years'
    assert call(convert_checkpoint, path, 'gluon').code == 0
    assert call(convert_checkpoint, path, 'gluon').error == \
        'error: gluon: it exists: choose another OUTPUT, or give --overwrite'
    assert call(convert_checkpoint, path, 'gluon', '--overwrite', '--to', 'transformers').code == 0
    assert set(os.listdir('gluon')) == TRANSFORMERS_FILES
    assert set(os.listdir()) == {'hf', 'mine', 'gluon'}


def test_an_output_that_would_replace_other_files(call, in_tmp):
    path, _ = write_model(in_tmp / 'hf', 'BertForSequenceClassification')
    assert call(convert_checkpoint, path, '').error.startswith(
        'error: argument OUTPUT: an empty text found, expected a value (')
    assert call(convert_checkpoint, path, 'gluon').code == 0
    for source in ('gluon', 'gluon/model.params', 'gluon/../gluon'):
        assert call(convert_checkpoint, source, 'gluon', '--overwrite').error == \
            'error: gluon: INPUT is inside this folder: choose another OUTPUT'
    (in_tmp / 'gluon' / 'README.md').write_text('mine')
    assert call(convert_checkpoint, path, 'gluon', '--overwrite').error == (
        'error: gluon: the folder also holds files that no conversion wrote: README.md; choose '
        'another OUTPUT')
    assert set(os.listdir('gluon')) == GLUON_FILES | {'task.json', 'README.md'}


def truncate_weights(folder):
    path = folder / 'model.safetensors'
    path.write_bytes(path.read_bytes()[:-100])


def remove(name):
    return lambda folder: os.remove(folder / name)


def change_config(**values):
    def change(folder):
        config = read_json(folder / 'config.json')
        (folder / 'config.json').write_text(json.dumps(dict(config, **values)))
    return change


@pytest.mark.parametrize('damage,message', [
    (truncate_weights, 'model.safetensors: not a safetensors file, or damaged'),
    (remove('model.safetensors'), 'hf: no model.params (this package) and no model.safetensors '
                                  'or pytorch_model.bin (Hugging Face layout) in this folder'),
    (remove('vocab.txt'), 'no vocab.txt beside it'),
    (remove('config.json'), 'no config.json beside it'),
    (lambda folder: (folder / 'config.json').write_text('{'), 'config.json: not JSON'),
    (lambda folder: (folder / 'vocab.txt').write_text('\n'.join(tiny.TOKENS + ('more', 'most'))),
     'the vocabulary has 27 tokens and the model 25'),
    (change_config(hidden_size=12), 'wrong shape: '),
    (change_config(num_hidden_layers=3), 'missing tensors: '),
    (change_config(model_type='mpnet'), 'config.json: the model_type is "mpnet"'),
    (change_config(position_embedding_type='relative_key'), 'position_embedding_type is'),
    (change_config(architectures=['BertForMultipleChoice']),
     'config.json: architecture BertForMultipleChoice; supported: '),
    (change_config(problem_type='regression'), 'problem_type is "regression" with 3 outputs'),
])
def test_what_cannot_be_converted(damage, message, call, in_tmp):
    write_model(in_tmp / 'hf', 'BertForSequenceClassification')
    damage(in_tmp / 'hf')
    outcome = call(convert_checkpoint, 'hf', 'out')
    assert outcome.code == 2 and message in outcome.error
    assert outcome.err.count('error: ') == 1
    assert os.listdir() == ['hf']


@pytest.mark.parametrize('arguments,message', [
    (('./nowhere', 'out'), './nowhere: no such file or folder'),
    (('hf', 'out', '--classes', 'a,b'),
     '--classes a,b: 2 given, the classifier has 3 outputs'),
    (('hf', 'out', '--classes', 'a,a,b'),
     '--classes a,a,b: expected two or more different names, for a classifier'),
    (('score', 'out', '--classes', 'good'),
     '--classes good: expected two or more different names, for a classifier'),
    (('encoder', 'out', '--classes', 'a,b'),
     '--classes: encoder/model.safetensors holds no classifier; found: encoder'),
    (('encoder', 'out', '--pair'),
     '--pair: encoder/model.safetensors holds no classifier; found: encoder'),
])
def test_arguments_that_do_not_fit(arguments, message, call, in_tmp):
    write_model(in_tmp / 'hf', 'BertForSequenceClassification')
    write_model(in_tmp / 'encoder', 'BertModel')
    prefixes = ARCHITECTURES['BertForSequenceClassification'][0]
    tiny.write_transformers(in_tmp / 'score', {
        name: array for name, array in all_tensors(num_outputs=1).items()
        if name.startswith(prefixes)})
    assert call(convert_checkpoint, *arguments).error == 'error: ' + message


def test_classes_may_be_given(call, in_tmp, caplog):
    path, _ = write_model(in_tmp / 'hf', 'BertForSequenceClassification')
    assert call(convert_checkpoint, path, 'gluon', '--classes', 'x,y,z').code == 0
    assert read_json('gluon/task.json')['labels'] == ['x', 'y', 'z']
    os.remove('gluon/task.json')        # leaves the parameters and their configuration
    assert call(convert_checkpoint, 'gluon', 'back').error.endswith(
        'gluon: no task.json in it, and no config.json of transformers: the names of the 3 classes '
        'are missing')
    assert call(predict, '--model_dir', 'gluon', 'good').out.splitlines()[1][0] in '012'
    assert 'the 3 classes are named by their numbers' in caplog.text
    assert call(convert_checkpoint, 'gluon', 'back', '--classes', 'k,l,m').code == 0
    assert read_json('back/config.json')['id2label'] == {'0': 'k', '1': 'l', '2': 'm'}


def test_a_task_with_a_wrong_number_of_labels(call, in_tmp):
    path, _ = write_model(in_tmp / 'hf', 'BertForSequenceClassification')
    call(convert_checkpoint, path, 'gluon')
    task = read_json('gluon/task.json')
    (in_tmp / 'gluon' / 'task.json').write_text(json.dumps(dict(task, labels=['a', 'b'])))
    assert call(predict, '--model_dir', 'gluon', 'good').error.endswith(
        'gluon/task.json: 2 labels, but the weights beside it have 3 outputs')


@pytest.mark.parametrize('target', ['gluon', 'transformers'])
def test_a_full_disk_leaves_nothing_half_done(target, in_tmp):
    path, _ = write_model(in_tmp / 'hf', 'BertForSequenceClassification')
    process = start('convert_checkpoint.py', path, 'out', '--to', target)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (4000, 4000))
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2, err
    assert 'Traceback' not in err and 'error: ' in err.splitlines()[-1]
    assert os.listdir() == ['hf']
