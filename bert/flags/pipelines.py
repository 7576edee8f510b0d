"""Options of `bert.open`."""
from bert import file_names
from bert.flags import kinds
from bert.flags.common import DTYPE_DESCRIPTIONS, HUB_NAME
from bert.flags.options import Options, flag, options


@options()
class OpeningOptions(Options):
    """bert.open"""
    path: str = flag('a trained or exported model, a released one, or ' + HUB_NAME, names=(),
                     required=True)
    task: str | None = flag('what to do with it', choices=file_names.MODEL_KINDS)
    activation: str | None = flag('of the score of a CrossEncoder',
                                  choices=file_names.SCORE_ACTIVATIONS)
    dtype: str = flag('to compute in', 'float32', choices=tuple(DTYPE_DESCRIPTIONS))
    threads: int | None = flag('CPU threads', None, kinds.thread_count)
    batch_size: int | None = flag('texts or windows a batch', None, kinds.positive_int)
    batch_tokens: int | None = flag('tokens a batch at most', None, kinds.positive_int)
    gpu: int | None = flag('GPU to use', None, kinds.whole_number)
    runtime: str | None = flag('of an exported model', choices=('mxnet', 'onnxruntime',
                                                               'openvino'))
    model_prefix: str | None = flag('which model of several')
