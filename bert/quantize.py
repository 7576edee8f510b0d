"""Turn a fine-tuned BERT into an INT8 one for CPUs: calibrate it, or tune it to a goal."""
from bert import deployment_options, options
from bert.errors import run_script


def make_parser():
    parser = options.Parser(__doc__)
    deployment_options.add_quantization_flags(parser)
    return parser


def main(arguments=None):
    args = make_parser().parse_args(arguments)
    options.prepare_mxnet(args.threads, low_latency=True)
    from bert.jobs import quantization, tuning  # import mxnet, which reads the threads
    if args.tune:
        return tuning.run(args)[1]
    quantization.run(args)


if __name__ == '__main__':
    run_script(main)
