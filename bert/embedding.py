"""Embed words or whole texts, from arguments or from a file, and search in the embedded texts."""
from bert import jobs
from bert.errors import run_script
from bert.flags.embedding import EmbedOptions as OPTIONS
from bert.flags.options import parse


def __getattr__(name):
    """Import `BertEmbedding` and `similarity` on first use: their modules import mxnet, which the
    script does only after `Options.prepare_mxnet`."""
    if name == 'BertEmbedding':
        from bert.pipelines.embedding import BertEmbedding
        return BertEmbedding
    if name == 'similarity':
        from bert.pipelines.pooling import similarity
        return similarity
    raise AttributeError('module %r has no attribute %r' % (__name__, name))

def main(arguments=None):
    return jobs.embed(*parse(OPTIONS, __doc__, arguments)).exit_status


if __name__ == '__main__':
    run_script(main)
