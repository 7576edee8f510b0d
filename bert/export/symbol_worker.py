"""Compute what an exported symbol gives for a batch, in a process of its own."""
import argparse


def make_parser():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ('symbol', 'inputs', 'outputs'):
        parser.add_argument(name, metavar=name.upper())
    return parser


def main(arguments=None):
    args = make_parser().parse_args(arguments)
    import mxnet as mx  # not for --help
    import numpy as np

    from bert.export import runtimes
    with np.load(args.inputs) as inputs:
        runtime = runtimes.open_symbol(args.symbol, mx.cpu())
        np.save(args.outputs, runtime(*(inputs[name] for name in (
            'token_ids', 'segment_ids', 'valid_length'))))


if __name__ == '__main__':
    main()
