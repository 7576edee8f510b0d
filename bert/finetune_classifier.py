"""Fine-tune BERT on a sentence or sentence-pair task: GLUE, Chinese tasks, your own files."""
from bert import options
from bert.errors import run_script


def make_parser():
    parser = options.Parser(__doc__, options.LEFT_OUT_OF_TRAINING)
    add_task_flags(parser)
    options.add_model_flags(parser)
    options.add_optimizer_flags(parser, learning_rate=2e-5, epochs=3, batch_size=32)
    options.add_only_calibration_flags(parser, num_calib_batches=5)
    options.add_training_device_flags(parser)
    options.add_output_flags(parser)
    return parser


def add_task_flags(parser):
    group = parser.add_argument_group('task')
    group.add_argument('--task_name',
                       help='MRPC (the default), QQP, QNLI, RTE, STS-B, CoLA, MNLI, WNLI, SST, '
                            'XNLI, LCQMC, ChnSentiCorp, RottenTomatoes; or a name for your own '
                            'files')
    group.add_argument('--data_dir', metavar='FOLDER',
                       help='folder of the task, or its parent; default: GLUE_DIR (Chinese '
                            'tasks: BAIDU_ERNIE_DATA_DIR), ./glue_data, ., the cache, a download')
    for kind in ('train', 'dev', 'test'):
        group.add_argument('--%s_file' % kind, metavar='FILE',
                           help='your own data: .csv, .tsv or .jsonl')
    group.add_argument('--text_columns', type=options.comma_list, metavar='A[,B]',
                       help='columns of the text or pair in your own files, by name; by number '
                            'from 0 in files without a header')
    group.add_argument('--label_column', metavar='C', help='column of the label, likewise')
    group.add_argument('--classes', type=options.comma_list, metavar='X,Y,…',
                       help='classes of your own files in order; default: those found')
    group.add_argument('--regression', action='store_true',
                       help='labels of your own files are numbers')
    group.add_argument('--skip_bad_rows', action='store_true',
                       help='leave bad rows out and report them, instead of stopping')
    group.add_argument('--max_len', type=int, default=128,
                       help='tokens an example at most, special tokens included')
    group.add_argument('--round_to', type=options.positive_int, metavar='N',
                       help='pad each batch to a multiple of N tokens')
    group.add_argument('--pad', action='store_true', help='pad each batch to --max_len')
    group.add_argument('--dev_batch_size', '--test_batch_size', type=options.positive_int,
                       default=32, help='examples a batch in evaluation')
    group.add_argument('--only_inference', action='store_true',
                       help='no training: evaluate on dev once, predict test')


def main(arguments=None):
    args = make_parser().parse_args(arguments)
    args.only_inference = args.only_inference or args.only_calibration
    options.prepare_mxnet(args.threads, training=args.gpu is None and not args.only_inference)
    from bert.jobs import classification  # imports mxnet, which reads the threads
    classification.run(args)


if __name__ == '__main__':
    run_script(main)
