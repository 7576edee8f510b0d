"""Turn a fine-tuned BERT into an INT8 one for CPUs: calibrate it, or tune it to a goal."""
from bert.errors import run_script
from bert.flags import common
from bert.flags import deployment as deployment_flags


def make_parser():
    parser = common.Parser(__doc__)
    deployment_flags.add_quantization_flags(parser)
    return parser


def main(arguments=None):
    args = make_parser().parse_args(arguments)
    common.prepare_mxnet(args.threads, low_latency=True)
    from bert.jobs.int8 import calibration, tuning  # import mxnet, so after prepare_mxnet
    if args.tune:
        return tuning.tune_checkpoint(args)[1]
    calibration.calibrate_checkpoint(args)


if __name__ == '__main__':
    run_script(main)
