"""Fine-tune, evaluate and tune BERT on a GLUE task, under the flags of lpot's BERT example."""
from bert.errors import run_script
from bert.flags import common
from bert.flags import deployment as deployment_flags


def make_parser():
    parser = common.Parser(__doc__)
    deployment_flags.add_lpot_example_flags(parser, max_seq_length=128, batch_size=8,
                                            learning_rate=5e-5)
    parser.add_argument('--task_name', required=True, metavar='TASK',
                        help='CoLA, SST-2, MRPC, STS-B, QQP, MNLI, QNLI, RTE or WNLI')
    parser.add_argument('--data_dir', required=True, metavar='FOLDER',
                        help='folder of the task, or its parent')
    parser.set_defaults(train_file=None, predict_file=None)
    return parser


def main(arguments=None):
    args = make_parser().parse_args(arguments)
    common.prepare_mxnet(args.threads, training=args.do_train, low_latency=args.tune)
    from bert.jobs import lpot_example  # imports mxnet, so after prepare_mxnet
    return lpot_example.run_glue(args)


if __name__ == '__main__':
    run_script(main)
