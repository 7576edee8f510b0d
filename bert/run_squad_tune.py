"""Fine-tune, evaluate and tune BERT on SQuAD, under the flags of lpot's BERT example."""
from bert.errors import run_script
from bert.flags import common
from bert.flags import deployment as deployment_flags


def make_parser():
    parser = common.Parser(__doc__)
    deployment_flags.add_lpot_example_flags(parser, max_seq_length=384, batch_size=8,
                                            learning_rate=5e-5)
    parser.add_argument('--task_name', default='SQuAD', metavar='TASK', help='SQuAD')
    parser.add_argument('--data_dir', metavar='FOLDER',
                        help='folder of train-v1.1.json and dev-v1.1.json; default: as '
                             'finetune_squad.py looks')
    parser.add_argument('--train_file', metavar='FILE', help='the questions to train on')
    parser.add_argument('--predict_file', metavar='FILE', help='the questions to predict')
    parser.add_argument('--doc_stride', type=common.positive_int, default=128,
                        help='tokens from the start of one window to the start of the next')
    return parser


def main(arguments=None):
    args = make_parser().parse_args(arguments)
    common.prepare_mxnet(args.threads, training=args.do_train, low_latency=args.tune)
    from bert.jobs import lpot_example  # imports mxnet, so after prepare_mxnet
    return lpot_example.run_squad(args)


if __name__ == '__main__':
    run_script(main)
