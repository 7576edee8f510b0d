"""convert_checkpoint.py: whole folders both ways, equal to the last bit, and used by the others."""
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
# {architecture: (beginnings of the names that it has, entries of its config.json)}
ENCODER = ('bert.embeddings', 'bert.encoder')
WITH_A_TASK = ('BertForSequenceClassification', 'BertForQuestionAnswering')
KINDS = {
    'BertModel': (ENCODER + ('bert.pooler',), {}),
    'BertForMaskedLM': (ENCODER + ('cls.predictions',), {}),
    'BertForNextSentencePrediction': (ENCODER + ('bert.pooler', 'cls.seq_relationship'), {}),
    'BertForPreTraining': (ENCODER + ('bert.pooler', 'cls.'), {}),
    'BertForSequenceClassification': (
        ENCODER + ('bert.pooler', 'classifier'),
        {'id2label': LABELS, 'label2id': {label: int(i) for i, label in LABELS.items()},
         'problem_type': 'single_label_classification'}),
    'BertForQuestionAnswering': (ENCODER + ('qa_outputs',), {}),
}
GLUON_FILES = {'model.params', 'config.json', 'vocab.txt', 'conversion.json'}
TRANSFORMERS_FILES = {'model.safetensors', 'config.json', 'vocab.txt', 'tokenizer_config.json',
                      'conversion.json'}


def all_tensors(outputs=3):
    rng = np.random.RandomState(5)
    tensors = numpy_bert.random_tensors(tiny.CONFIG)
    for name, rows in (('classifier', outputs), ('qa_outputs', 2)):
        tensors[name + '.weight'] = rng.randn(rows, tiny.CONFIG.units).astype('float32')
        tensors[name + '.bias'] = rng.randn(rows).astype('float32')
    return tensors


def write(folder, architecture, **more):
    """A tiny model of this architecture as transformers saves it; returns (path, tensors)."""
    keep, config = KINDS[architecture]
    tensors = {name: array for name, array in all_tensors().items() if name.startswith(keep)}
    if architecture == 'BertModel':
        tensors = {name.replace('bert.', '', 1): array for name, array in tensors.items()}
    path = tiny.write_transformers(folder, tensors, architectures=[architecture],
                                   **dict(config, **more))
    return path, tensors


def read(path):
    with open(path, encoding='utf-8') as file:
        return json.load(file)


def same_bits(found, expected):
    return {name: array.tobytes() for name, array in found.items()} == \
        {name: array.tobytes() for name, array in expected.items()}


# Both ways


@pytest.mark.parametrize('architecture', KINDS)
def test_there_and_back(architecture, call, in_tmp):
    path, tensors = write(in_tmp / 'hf', architecture)
    outcome = call(convert_checkpoint, path, 'gluon')
    assert outcome.code == 0, outcome.err
    assert '(gluon): %s, %d tensors' % (architecture, len(tensors)) in outcome.out
    task = {'task.json'} if architecture in WITH_A_TASK else set()
    assert set(os.listdir('gluon')) == GLUON_FILES | task
    outcome = call(convert_checkpoint, 'gluon', 'back')
    assert outcome.code == 0, outcome.err
    assert set(os.listdir('back')) == TRANSFORMERS_FILES | task
    assert same_bits(load_file('back/model.safetensors'), tensors)
    config, back = read(in_tmp / 'hf' / 'config.json'), read('back/config.json')
    assert {key: back[key] for key in config} == config
    vocabularies = [(in_tmp / name / 'vocab.txt').read_bytes() for name in ('hf', 'back')]
    assert vocabularies[0] == vocabularies[1]
    assert read('back/tokenizer_config.json')['do_lower_case'] is True
    assert call(convert_checkpoint, 'back', 'again').code == 0
    assert (in_tmp / 'again' / 'model.params').read_bytes() == \
        (in_tmp / 'gluon' / 'model.params').read_bytes()


def test_the_report(call, in_tmp):
    path, tensors = write(in_tmp / 'hf', 'BertForSequenceClassification')
    assert call(convert_checkpoint, path, 'gluon').code == 0
    report = read('gluon/conversion.json')
    assert report['head'] == 'classification' and report['format'] == 'gluon'
    assert report['classes'] == ['sad', 'glad', 'so so'] and report['left_out'] == []
    assert report['values'] == sum(array.size for array in tensors.values())
    assert report['versions']['mxnet'] == '1.9.1'


def test_what_the_head_has_no_place_for_is_named(call, in_tmp):
    tensors = {name: array for name, array in all_tensors().items()
               if not name.startswith('qa_outputs')}
    path = tiny.write_transformers(in_tmp / 'hf', tensors, id2label=LABELS)
    outcome = call(convert_checkpoint, path, 'gluon')
    assert 'left out, as BertForSequenceClassification has no place for them: classifier.bias, ' \
           'classifier.weight, decoder.0.bias' in outcome.out
    assert len(read('gluon/conversion.json')['left_out']) == 7


def test_gluon_to_gluon_makes_a_folder_of_a_file(call, in_tmp):
    path, _ = write(in_tmp / 'hf', 'BertModel')
    call(convert_checkpoint, path, 'gluon')
    os.remove('gluon/conversion.json')
    outcome = call(convert_checkpoint, 'gluon/model.params', 'whole', '--to', 'gluon')
    assert outcome.code == 0, outcome.err
    assert set(os.listdir('whole')) == GLUON_FILES
    assert (in_tmp / 'whole' / 'model.params').read_bytes() == \
        (in_tmp / 'gluon' / 'model.params').read_bytes()


# Used by the other commands


def expected_probabilities(tensors, rows):
    """NumPy's probabilities for rows of ids."""
    found = []
    for ids in rows:
        states = numpy_bert.sequence(tensors, tiny.CONFIG, [ids], np.zeros((1, len(ids)), int))
        logits = numpy_bert.dense(numpy_bert.pooled(tensors, states), tensors, 'classifier')
        found.append(numpy_bert.softmax(logits)[0])
    return np.array(found)


TEXTS = ('the film was good', 'awful')


def test_predict_answers_with_the_labels_of_transformers(call, in_tmp):
    path, tensors = write(in_tmp / 'hf', 'BertForSequenceClassification')
    ids = [[2] + [tiny.TOKENS.index(word) for word in text.split()] + [3] for text in TEXTS]
    expected = expected_probabilities(tensors, ids)
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


def test_pairs_are_asked_for_where_transformers_does_not_say(call, in_tmp):
    path, _ = write(in_tmp / 'hf', 'BertForSequenceClassification')
    alone = call(predict, '--model_dir', path, *TEXTS).out.splitlines()
    assert alone[0] == 'label\tprobability\ttext' and len(alone) == 3
    pair = call(predict, '--model_dir', path, '--pair', *TEXTS).out.splitlines()
    assert pair[0] == 'label\tprobability\ttext_a\ttext_b' and len(pair) == 2
    call(convert_checkpoint, path, 'gluon', '--pair')
    assert call(predict, '--model_dir', 'gluon', *TEXTS).out.splitlines() == pair


def test_a_score_stays_a_score(call, in_tmp):
    keep = KINDS['BertForSequenceClassification'][0]
    tensors = {name: array for name, array in all_tensors(outputs=1).items()
               if name.startswith(keep)}
    path = tiny.write_transformers(in_tmp / 'hf', tensors)      # one output, no problem_type
    first = call(predict, '--model_dir', path, *TEXTS)
    assert first.out.startswith('score\ttext\n'), first.err
    call(convert_checkpoint, path, 'gluon')
    call(convert_checkpoint, 'gluon', 'back')
    assert read('back/config.json')['problem_type'] == 'regression'
    assert call(predict, '--model_dir', 'back', *TEXTS).out == first.out


def test_a_run_of_ours_goes_to_transformers_and_back(call, in_tmp, tiny_bert, sst):
    finetune_classifier.main(['--bert_checkpoint', tiny_bert, '--task_name', 'SST', '--data_dir',
                              sst, '--output_dir', 'run', '--epochs', '1', '--max_len', '24'])
    assert call(convert_checkpoint, 'run', 'hf').code == 0
    config = read('hf/config.json')
    assert config['architectures'] == ['BertForSequenceClassification']
    assert config['id2label'] == {'0': '0', '1': '1'}
    assert read('hf/tokenizer_config.json')['model_max_length'] == 24
    expected = call(predict, '--model_dir', 'run', *TEXTS)
    assert call(predict, '--model_dir', 'hf', *TEXTS).out == expected.out
    assert call(predict, '--model_dir', 'hf', '--pair', *TEXTS).error == \
        'error: --pair: the model in hf was trained on single texts'


def test_a_run_beside_the_model_that_it_started_from(call, in_tmp, sst):
    """The run's checkpoint comes with its own task, whatever lies around it."""
    path, _ = write(in_tmp / 'both', 'BertForSequenceClassification')
    assert call(finetune_classifier, '--bert_checkpoint', path, '--task_name', 'SST', '--data_dir',
                sst, '--output_dir', 'both', '--epochs', 1, '--max_len', 24).code == 0
    step = next((in_tmp / 'both').glob('step-*'))
    expected = call(predict, '--model_dir', step, *TEXTS).out
    assert '\n0\t' in expected or '\n1\t' in expected
    assert call(predict, '--model_dir', 'both', *TEXTS).out == expected


def test_finetuning_starts_from_any_converted_folder(call, in_tmp, sst):
    path, _ = write(in_tmp / 'hf', 'BertForPreTraining')
    call(convert_checkpoint, path, 'gluon')
    trained = []
    for folder in (path, 'gluon'):
        assert call(finetune_classifier, '--bert_checkpoint', folder, '--task_name', 'SST',
                    '--data_dir', sst, '--output_dir', 'run', '--overwrite_output_dir',
                    '--epochs', 1, '--max_len', 24).code == 0
        trained.append(next((in_tmp / 'run').glob('step-*/model.params')).read_bytes())
    assert trained[0] == trained[1]


@pytest.mark.torch
@pytest.mark.parametrize('legacy', [False, True])
def test_pytorchs_file_is_as_good(torch, legacy, call, in_tmp):
    path, tensors = write(in_tmp / 'hf', 'BertForSequenceClassification')
    expected = call(predict, '--model_dir', path, *TEXTS).out
    os.remove(in_tmp / 'hf' / 'model.safetensors')
    torch.save({name: torch.tensor(array) for name, array in tensors.items()},
               str(in_tmp / 'hf' / 'pytorch_model.bin'),
               _use_new_zipfile_serialization=not legacy)
    assert call(predict, '--model_dir', path, *TEXTS).out == expected
    assert call(convert_checkpoint, path, 'gluon').code == 0
    assert call(convert_checkpoint, 'gluon', 'back').code == 0
    assert same_bits(load_file('back/model.safetensors'), tensors)


# Refused


def test_an_output_that_exists(call, in_tmp):
    path, _ = write(in_tmp / 'hf', 'BertModel')
    (in_tmp / 'mine').mkdir()
    (in_tmp / 'mine' / 'thesis.tex').write_text('years')
    for flags in ((), ('--overwrite',)):
        assert call(convert_checkpoint, path, 'mine', *flags).error == \
            'error: mine: it exists, and no conversion made it: choose another OUTPUT'
    assert (in_tmp / 'mine' / 'thesis.tex').read_text() == 'years'
    assert call(convert_checkpoint, path, 'gluon').code == 0
    assert call(convert_checkpoint, path, 'gluon').error == \
        'error: gluon: it exists: choose another OUTPUT, or give --overwrite'
    assert call(convert_checkpoint, path, 'gluon', '--overwrite', '--to', 'transformers').code == 0
    assert set(os.listdir('gluon')) == TRANSFORMERS_FILES
    assert set(os.listdir()) == {'hf', 'mine', 'gluon'}


def test_an_output_in_the_way_of_something_else(call, in_tmp):
    path, _ = write(in_tmp / 'hf', 'BertForSequenceClassification')
    assert call(convert_checkpoint, path, '').error == \
        'error: OUTPUT is empty: name the folder to make'
    assert call(convert_checkpoint, path, 'gluon').code == 0
    for source in ('gluon', 'gluon/model.params', 'gluon/../gluon'):
        assert call(convert_checkpoint, source, 'gluon', '--overwrite').error == \
            'error: gluon: INPUT lies in it: choose another OUTPUT'
    (in_tmp / 'gluon' / 'README.md').write_text('mine')
    assert call(convert_checkpoint, path, 'gluon', '--overwrite').error == (
        'error: gluon: it also holds what no conversion wrote: README.md; choose another OUTPUT')
    assert set(os.listdir('gluon')) == GLUON_FILES | {'task.json', 'README.md'}


def damage_weights(folder):
    path = folder / 'model.safetensors'
    path.write_bytes(path.read_bytes()[:-100])


def drop(name):
    return lambda folder: os.remove(folder / name)


def change_config(**values):
    def change(folder):
        config = read(folder / 'config.json')
        (folder / 'config.json').write_text(json.dumps(dict(config, **values)))
    return change


@pytest.mark.parametrize('damage,message', [
    (damage_weights, 'model.safetensors: not a safetensors file, or damaged'),
    (drop('model.safetensors'), 'hf: no model.params (ours) and no model.safetensors or '
                                'pytorch_model.bin (Hugging Face layout) in it'),
    (drop('vocab.txt'), 'no vocab.txt beside it'),
    (drop('config.json'), 'no config.json beside it'),
    (lambda folder: (folder / 'config.json').write_text('{'), 'config.json: not JSON'),
    (lambda folder: (folder / 'vocab.txt').write_text('\n'.join(tiny.TOKENS + ('more', 'most'))),
     'the vocabulary has 27 tokens and the model 25'),
    (change_config(hidden_size=12), 'wrong shape: '),
    (change_config(num_hidden_layers=3), 'missing: '),
    (change_config(model_type='roberta'), 'config.json: model_type is "roberta"'),
    (change_config(position_embedding_type='relative_key'), 'position_embedding_type is'),
    (change_config(architectures=['BertForMultipleChoice']),
     'config.json: architecture BertForMultipleChoice; supported: '),
    (change_config(problem_type='multi_label_classification'),
     'problem_type is "multi_label_classification" with 3 outputs'),
])
def test_what_cannot_be_converted(damage, message, call, in_tmp):
    write(in_tmp / 'hf', 'BertForSequenceClassification')
    damage(in_tmp / 'hf')
    outcome = call(convert_checkpoint, 'hf', 'out')
    assert outcome.code == 2 and message in outcome.error
    assert outcome.err.count('error: ') == 1
    assert os.listdir() == ['hf']


@pytest.mark.parametrize('arguments,message', [
    (('nowhere', 'out'), 'nowhere: no such file or folder'),
    (('hf', 'out', '--classes', 'a,b'),
     '--classes a,b: 2 given, the classifier has 3 outputs'),
    (('hf', 'out', '--classes', 'a,a,b'),
     '--classes a,a,b: give two or more, each once, to a classifier'),
    (('score', 'out', '--classes', 'good'),
     '--classes good: give two or more, each once, to a classifier'),
    (('encoder', 'out', '--classes', 'a,b'),
     '--classes: encoder/model.safetensors holds no classifier but: encoder'),
    (('encoder', 'out', '--pair'),
     '--pair: encoder/model.safetensors holds no classifier but: encoder'),
])
def test_arguments_that_do_not_fit(arguments, message, call, in_tmp):
    write(in_tmp / 'hf', 'BertForSequenceClassification')
    write(in_tmp / 'encoder', 'BertModel')
    keep = KINDS['BertForSequenceClassification'][0]
    tiny.write_transformers(in_tmp / 'score', {
        name: array for name, array in all_tensors(outputs=1).items() if name.startswith(keep)})
    assert call(convert_checkpoint, *arguments).error == 'error: ' + message


def test_classes_may_be_given(call, in_tmp):
    path, _ = write(in_tmp / 'hf', 'BertForSequenceClassification')
    assert call(convert_checkpoint, path, 'gluon', '--classes', 'x,y,z').code == 0
    assert read('gluon/task.json')['labels'] == ['x', 'y', 'z']
    os.remove('gluon/task.json')        # parameters with a configuration, no more
    for answer in (call(convert_checkpoint, 'gluon', 'back'),
                   call(predict, '--model_dir', 'gluon', 'good')):
        assert answer.error.endswith('gluon: no task.json in it, and no config.json of '
                                     'transformers: the names of the 3 classes are missing')
    assert call(convert_checkpoint, 'gluon', 'back', '--classes', 'k,l,m').code == 0
    assert read('back/config.json')['id2label'] == {'0': 'k', '1': 'l', '2': 'm'}


def test_a_task_of_other_labels_than_the_weights_have(call, in_tmp):
    path, _ = write(in_tmp / 'hf', 'BertForSequenceClassification')
    call(convert_checkpoint, path, 'gluon')
    task = read('gluon/task.json')
    (in_tmp / 'gluon' / 'task.json').write_text(json.dumps(dict(task, labels=['a', 'b'])))
    assert call(predict, '--model_dir', 'gluon', 'good').error.endswith(
        'gluon/task.json: 2 labels, and the weights beside it have 3 outputs')


@pytest.mark.parametrize('target', ['gluon', 'transformers'])
def test_a_full_disk_leaves_nothing_half_done(target, in_tmp):
    path, _ = write(in_tmp / 'hf', 'BertForSequenceClassification')
    process = start('convert_checkpoint.py', path, 'out', '--to', target)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (4000, 4000))
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2, err
    assert 'Traceback' not in err and 'error: ' in err.splitlines()[-1]
    assert os.listdir() == ['hf']
