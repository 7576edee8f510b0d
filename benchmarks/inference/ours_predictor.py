"""One way of computing with a network, for predictor.py, in a process of its own."""
import argparse
import time

import numpy as np

from benchmarks import harness
from benchmarks.inference.ours import config_of


def make_ways(model):
    """{way: function of the three inputs}, which waits for its result. The weights are random."""
    import mxnet as mx

    from bert.model.bert import BERTModel
    from bert.model.inference import Predictor
    from bert.model.qa import BertForQA
    network = BertForQA(BERTModel(config_of(model), dropout=0.1, use_pooler=False))
    mx.random.seed(0)
    network.initialize(mx.init.Normal(0.02))
    network.hybridize()

    def gradients(*inputs):
        with mx.autograd.record():
            scores = network(*inputs)
        scores.backward()
        mx.nd.waitall()
        return scores
    predictor = Predictor(network)
    return {'network': network, 'predictor': predictor, 'gradients': gradients,
            'unmasked': lambda *inputs: predictor(*inputs, is_padded=False)}


def make_inputs(size, length):
    """Random tokens, in texts that are up to 8 tokens shorter than `length`."""
    import mxnet as mx
    random = np.random.RandomState(0)
    return [mx.nd.array(random.randint(1000, size=(size, length)), dtype='int32'),
            mx.nd.zeros((size, length), dtype='int32'),
            mx.nd.array(random.randint(max(1, length - 8), length + 1, size=size))]


def main():
    parser = argparse.ArgumentParser(description='worker of benchmarks.inference.predictor')
    harness.add_model_flag(parser)
    parser.add_argument('--way', choices=('network', 'predictor', 'unmasked', 'gradients'))
    parser.add_argument('--keep_memory', action='store_true')
    args = parser.parse_args()
    if args.keep_memory:
        from bert.flags import allocator
        allocator.keep_freed_memory(training=args.way == 'gradients')     # before mxnet is imported
    compute = make_ways(args.model)[args.way]

    def answer(question):
        """{'size', 'length'} → seconds, and the scores for the comparison."""
        inputs = make_inputs(question['size'], question['length'])
        started = time.time()
        scores = compute(*inputs).asnumpy()
        return {'seconds': time.time() - started, 'scores': scores.ravel().tolist()}
    harness.answer_questions(answer)


if __name__ == '__main__':
    main()
