"""Vectors of words or of whole texts: from arguments, or of a file into a file; and search in them.
"""
from bert.errors import run_script
from bert.flags import common, embedding_choices

UNSUPPORTED_FLAGS = {
    '--vocab': 'name the model with --model and --dataset_name, or --bert_checkpoint'}


def __getattr__(name):
    """Import `BertEmbedding` and `similarity` on first use: their modules import mxnet, which the
    script does only after `prepare_mxnet`."""
    if name == 'BertEmbedding':
        from bert.pipelines.embedding import BertEmbedding
        return BertEmbedding
    if name == 'similarity':
        from bert.pipelines.pooling import similarity
        return similarity
    raise AttributeError('module %r has no attribute %r' % (__name__, name))


# A flag that changes vectors stands in INDEX_OPTIONS of jobs/embedding/command.py and PLAN_OPTIONS
# of vector_files.py too: an index and a resumed run must have been made with the same value.
def make_parser():
    parser = common.Parser(__doc__, UNSUPPORTED_FLAGS)
    _add_text_flags(parser.add_argument_group('texts'))
    _add_vector_flags(parser.add_argument_group('vectors'))
    _add_model_flags(parser.add_argument_group('model'))
    _add_output_flags(parser.add_argument_group('output'))
    _add_search_flags(parser.add_argument_group('search'))
    common.add_device_flags(parser)
    return parser


def _add_text_flags(group):
    group.add_argument('--sentences', nargs='+', metavar='TEXT', help='texts')
    group.add_argument('--file', metavar='FILE',
                       help='.txt with one text a line; .csv, .tsv or .jsonl with --text_column')
    group.add_argument('--text_column', metavar='C', help='of --file, by name; by number from 0 in '
                                                          'files without a header')


def _add_vector_flags(group):
    group.add_argument('--granularity', choices=('word', 'token', 'sentence'), default='word',
                       help='a vector for each word, word piece, or text')
    group.add_argument('--oov_way', choices=embedding_choices.OOV_WAYS, default='avg',
                       help='how a word\'s vector is made of those of its pieces')
    group.add_argument('--pooling', choices=embedding_choices.POOLINGS, default='mean',
                       help='how a text\'s vector is made of those of its tokens')
    group.add_argument('--no_normalize', dest='normalize', action='store_false',
                       help='leave a text\'s vector as long as it is; default: of length 1')
    group.add_argument('--layers', type=int, nargs='+', metavar='N',
                       default=list(embedding_choices.DEFAULT_LAYERS),
                       help='hidden states to take, -1 the last, 0 the input of the first layer')
    group.add_argument('--combine', choices=embedding_choices.COMBINATIONS, default='concat',
                       help='how several of them become one')
    group.add_argument('--max_seq_length', type=common.positive_int, metavar='TOKENS',
                       help='of a text, [CLS] and [SEP] included; default: %d for words, as in the '
                            'original, and what the model takes for texts'
                            % embedding_choices.WORD_VECTORS_MAX_LENGTH)
    group.add_argument('--long_text', choices=embedding_choices.LONG_TEXT_MODES, default='warn',
                       help='longer ones are cut and counted, are an error, or are read in windows '
                            'whose vectors are averaged')
    group.add_argument('--precision', choices=embedding_choices.PRECISIONS, default='float32',
                       help='of what is written')


def _add_model_flags(group):
    group.add_argument('--model', default='bert_12_768_12',
                       help='which BERT; models.py lists them')
    group.add_argument('--dataset_name', metavar='NAME',
                       help='corpus it was pre-trained on; default: the first one of the model')
    group.add_argument('--params_path', metavar='FILE', help='other weights for it')
    group.add_argument('--bert_checkpoint', metavar='PATH',
                       help='weights instead of these: a folder in Hugging Face layout, one of '
                            'its files, or a checkpoint folder of ours')
    common.add_dtype_flag(group)
    group.add_argument('--batch_size', type=common.positive_int,
                       default=embedding_choices.DEFAULT_BATCH_SIZE, help='texts a batch')


def _add_output_flags(group):
    group.add_argument('--output', metavar='FILE',
                       help='.npy (one row a text), .npz or .jsonl; what it is stands beside it '
                            'in FILE.json')
    group.add_argument('--num_workers', type=common.positive_int, default=1, metavar='N',
                       help='processes, which share --threads; what is written does not depend '
                            'on it')
    group.add_argument('--resume', action='store_true',
                       help='go on with an unfinished run; finished parts are kept')
    group.add_argument('--overwrite', action='store_true', help='replace an --output that exists')
    group.add_argument('--verbose', action='store_true', help='no meaning: all is logged')


def _add_search_flags(group):
    group.add_argument('--query', nargs='+', metavar='TEXT',
                       help='print the texts of an embedded file that are most like these')
    group.add_argument('--index', metavar='FILE.npy', help='the embedded file')
    group.add_argument('--top_k', type=common.positive_int, default=5, help='texts a query')


def main(arguments=None):
    args = make_parser().parse_args(arguments)
    if args.max_seq_length is None and args.granularity != 'sentence':
        args.max_seq_length = embedding_choices.WORD_VECTORS_MAX_LENGTH
    common.prepare_mxnet(max(1, args.threads // args.num_workers))
    from bert.jobs.embedding import command  # imports mxnet, so after prepare_mxnet
    command.embed(args)


if __name__ == '__main__':
    run_script(main)
