"""Models in bfloat16 and INT8, exported ones and quantized ones: each is served as its pipeline."""
import dataclasses

import numpy as np
import pytest
from support import servers, tiny
from support.cross_encoders import write_cross_encoder, write_sts
from support.sentence_folders import write_folder

import bert
from bert.jobs import convert_checkpoint, export_onnx, quantize

WIDE_CONFIG = dataclasses.replace(tiny.CONFIG, units=64, hidden_size=96)   # the kernels support it
TEXTS = [' '.join(tiny.WORDS[start:start + 1 + start % 5]) for start in range(12)]
TOLERANCE = 1e-5


@pytest.mark.parametrize('dtype', ['bfloat16', 'int8'])
def test_dtypes(kernels, dtype, tmp_path):
    path = tiny.write_checkpoint(tmp_path / 'vectors', WIDE_CONFIG)
    with servers.running_server((path,), dtype=dtype) as running:
        vectors = np.array(running.ask('/embed', {'inputs': TEXTS}))
        assert running.ask('/info')['model_dtype'] == dtype
    # roundings of INT8 depend on the texts of a batch: here it is one batch for both
    assert np.allclose(vectors, bert.open(path, dtype=dtype)(TEXTS), atol=TOLERANCE)
    exact = bert.open(path)(TEXTS)
    assert np.allclose(vectors, exact, atol=0.05) and not np.allclose(vectors, exact, atol=1e-6)


def test_an_exported_model(tmp_path):
    vectors = export_onnx(
        model_dir=write_folder(tmp_path / 'vectors', modules=('Pooling', 'Normalize')),
        output_dir=str(tmp_path / 'onnx')).folder
    classes = export_onnx(model_dir=tiny.write_classifier(tmp_path / 'classes'),
                          output_dir=str(tmp_path / 'onnx-classes')).folder
    with servers.running_server((vectors, classes)) as running:
        assert np.allclose(running.ask('/embed', {'inputs': TEXTS}), bert.open(vectors)(TEXTS),
                           atol=TOLERANCE)
        answers = running.ask('/predict', {'inputs': [[text] for text in TEXTS]})
        for labels, record in zip(answers, bert.open(classes)(TEXTS), strict=True):
            assert {item['label']: item['score'] for item in labels} == pytest.approx(
                record.probabilities, abs=TOLERANCE)


def test_a_quantized_model(tmp_path):
    data = write_sts(tmp_path / 'data')
    convert_checkpoint(input=write_cross_encoder(tmp_path / 'hf'), output=tmp_path / 'floats')
    folder = quantize(model_dir=str(tmp_path / 'floats'), task_name='STS-B', data_dir=data,
                      output_dir=str(tmp_path / 'int8')).folder
    with servers.running_server((folder,)) as running:
        assert running.ask('/info')['model_dtype'] == 'int8'
        answer = running.ask('/rerank', {'query': 'the film', 'texts': TEXTS})
    expected = {item.document: item.score for item in bert.open(folder).rank('the film', TEXTS)}
    assert {item['index']: item['score'] for item in answer} == pytest.approx(expected,
                                                                              abs=TOLERANCE)
