"""What the server says of its models."""
import types

import pytest

from bert.serving import hosting


@pytest.mark.parametrize('pipeline, expected', [
    (types.SimpleNamespace(network=types.SimpleNamespace(is_quantized=True)), 'int8'),
    (types.SimpleNamespace(network=types.SimpleNamespace(is_quantized=False)), 'float32'),
    (types.SimpleNamespace(network=object()), 'float32'),       # one of Gluon's
    (types.SimpleNamespace(), 'float32')])                      # an embedder
def test_an_exported_int8_model_computes_in_int8(pipeline, expected):
    assert hosting.dtype_of(pipeline, 'float32') == expected
