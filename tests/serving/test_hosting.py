"""What the server says of its models."""
import gc
import threading
import time
import types
import weakref

import pytest
from support import tiny

from bert.flags.serving import ServingOptions
from bert.pipelines.inference import NETWORK_LOCK
from bert.serving import hosting


@pytest.mark.parametrize('pipeline, expected', [
    (types.SimpleNamespace(network=types.SimpleNamespace(is_quantized=True)), 'int8'),
    (types.SimpleNamespace(network=types.SimpleNamespace(is_quantized=False)), 'float32'),
    (types.SimpleNamespace(network=object()), 'float32'),       # one of Gluon's
    (types.SimpleNamespace(), 'float32')])                      # an embedder
def test_an_exported_int8_model_computes_in_int8(pipeline, expected):
    assert hosting.dtype_of(pipeline, 'float32') == expected


def test_a_speed_is_measured_while_no_other_network_computes(tmp_path):
    """Other networks hold the lock nearly all of the time, as under load."""
    host = hosting.ModelHost(ServingOptions(
        model_dir=(tiny.write_checkpoint(tmp_path / 'vectors'),), threads=1))
    model, is_over = host.models['vectors'], threading.Event()

    def compute():
        while not is_over.is_set():
            with NETWORK_LOCK:
                time.sleep(0.5)
            time.sleep(0.01)
    thread = threading.Thread(target=compute)
    thread.start()
    try:
        speeds = [model.measure_speed().speed for _ in range(3)]
    finally:
        is_over.set()
        thread.join()
    num_tokens = model.plan_sample(hosting.MEASURED_TEXTS).num_read
    assert min(speeds) > num_tokens / 0.25     # half a second and more with the wait


def test_a_replaced_model_is_freed(tmp_path):
    """Also when the server has taken its objects for permanent."""
    host = hosting.ModelHost(ServingOptions(
        model_dir=(tiny.write_checkpoint(tmp_path / 'vectors'),), threads=1))
    hosting.settle_objects()
    try:
        assert gc.get_freeze_count() > 10000
        pipeline = weakref.ref(host.models['vectors'].pipeline)
        host.reload('vectors')
        assert pipeline() is None
    finally:
        gc.unfreeze()
