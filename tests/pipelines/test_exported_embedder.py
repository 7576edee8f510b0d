"""Embedding models as symbols and as ONNX: the same vectors, and the files that say how."""
import json
import os

import numpy as np
import pytest
from support import tiny
from support.sentence_folders import dense_arrays, write_folder

import bert
from bert.errors import UserError
from bert.jobs import deploy, export_onnx, export_symbol
from bert.pipelines.exported_embedder import ExportedEmbedder

TEXTS = ['The film was so good .', '', 'bad', 'plots and scenes ' * 20]
EXPORTS = {'symbol': export_symbol, 'onnx': export_onnx}
SENTENCE_FILES = {'modules.json', '1_Pooling', '2_Dense', 'sentence_bert_config.json',
                  'config_sentence_transformers.json'}
FILES = {'symbol': {'embedding-symbol.json', 'embedding-0000.params'},
         'onnx': {'embedding.onnx', 'tokenizer.json', 'tokenizer_config.json'}}


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    return write_folder(
        tmp_path_factory.mktemp('model') / 'st', modules=('Pooling', 'Dense', 'Normalize'),
        length={'max_seq_length': 9, 'do_lower_case': False},
        settings={'prompts': {'query': 'the film '}, 'similarity_fn_name': 'dot'},
        dense=[({'in_features': 8, 'out_features': 6, 'bias': True,
                 'activation_function': 'torch.nn.Tanh'}, dense_arrays(8, 6))])


@pytest.fixture(scope='module')
def exports(model, tmp_path_factory):
    """{form: folder}"""
    root = tmp_path_factory.mktemp('exports')
    return {form: export(model_dir=model, output_dir=str(root / form)).folder
            for form, export in EXPORTS.items()}


@pytest.mark.parametrize('form', EXPORTS)
def test_vectors_and_files(form, model, exports):
    expected, exported = bert.open(model), bert.open(exports[form])
    assert type(exported) is ExportedEmbedder
    for method in ('__call__', 'encode_query', 'encode_document'):
        np.testing.assert_allclose(getattr(exported, method)(TEXTS),
                                   getattr(expected, method)(TEXTS), atol=1e-5)
    assert exported.sentence_model.similarity == 'dot'
    for keywords in ({'pooling': 'cls', 'normalize': False}, {'long_text': 'split'},
                     {'dimensions': 2}, {'batch_size': 1}):
        np.testing.assert_allclose(bert.open(exports[form], **keywords)(TEXTS),
                                   bert.open(model, **keywords)(TEXTS), atol=1e-5)
    assert set(os.listdir(exports[form])) == SENTENCE_FILES | FILES[form] | {
        'config.json', 'vocab.txt', 'task.json', 'options.json', 'results.json',
        'hybrid_export_bert.log'}
    with open(os.path.join(exports[form], 'task.json')) as file:
        assert json.load(file) == {'name': 'st', 'kind': 'embedding', 'pair': False, 'max_len': 9}


def test_a_shorter_length(model, tmp_path):
    folder = export_onnx(model_dir=model, seq_length=5, output_dir=str(tmp_path / 'out')).folder
    np.testing.assert_allclose(bert.open(folder)(TEXTS), bert.open(model, max_tokens=5)(TEXTS),
                               atol=1e-5)


@pytest.mark.parametrize('form', [pytest.param('symbol', marks=pytest.mark.exhaustive), 'onnx'])
def test_an_export_is_replaced(form, model, tmp_path):
    folder = str(tmp_path / 'out')
    EXPORTS[form](model_dir=model, output_dir=folder)
    before = sorted(os.listdir(folder))
    with pytest.raises(UserError, match='holds a run: choose another --output_dir'):
        EXPORTS[form](model_dir=model, output_dir=folder)
    EXPORTS[form](model_dir=model, output_dir=folder, overwrite_output_dir=True)
    assert sorted(os.listdir(folder)) == before
    assert bert.open(folder)(TEXTS).shape == (4, 6)


def test_any_encoder_if_the_task_says_so(tmp_path):
    for name, write in (('encoder', tiny.write_checkpoint), ('head', tiny.write_classifier)):
        path = write(tmp_path / name)
        folder = export_onnx(model_dir=path, task='embedding',
                             output_dir=str(tmp_path / (name + '-onnx'))).folder
        np.testing.assert_allclose(bert.open(folder)(TEXTS), bert.Embedder(path)(TEXTS), atol=1e-5)
    with pytest.raises(UserError, match='holds no model for a task; found: encoder'):
        export_onnx(model_dir=str(tmp_path / 'encoder'), output_dir=str(tmp_path / 'x'))


@pytest.mark.parametrize('keywords, message', [
    ({'pooling': 'pooler'}, 'pooling "pooler": the exported model has no pooler'),
    ({'layers': (-1, -2)}, 'the exported model has its own dtype and layers'),
    ({'dtype': 'bfloat16'}, 'dtype bfloat16: the exported model in .* has its own'),
    ({'model': 'bert_6_384_12'}, 'model: .* holds an exported model with its own weights'),
    ({'max_tokens': 99}, 'max_tokens 99: expected from 3 to 40: ')])
def test_what_an_export_has_not(keywords, message, exports):
    with pytest.raises(UserError, match=message):
        bert.open(exports['onnx'], **keywords)(TEXTS)


def test_other_errors(model, exports, tmp_path):
    with pytest.raises(UserError, match='holds an embedding model, and deploy.py writes no vector'):
        deploy(model_dir=exports['onnx'], texts=('a',))
    with pytest.raises(UserError, match='--task embedding: name the model with --model_dir'):
        export_onnx(task='embedding', output_dir=str(tmp_path / 'x'))
    with pytest.raises(UserError, match='--pair: it is for a classifier'):
        export_onnx(model_dir=model, pair=True, output_dir=str(tmp_path / 'x'))
    with pytest.raises(UserError, match='--seq_length 99: this model has 40 positions'):
        export_onnx(model_dir=model, seq_length=99, output_dir=str(tmp_path / 'x'))
