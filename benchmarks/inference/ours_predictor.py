"""One way of computing with a network, for predictor.py, in a process of its own."""
import argparse
import time

import numpy as np

from benchmarks import harness

BASE = 'bert_12_768_12'


def make_ways(model):
    """{name: function of the three inputs} that computes to the end; random weights."""
    import mxnet as mx

    from bert.model.bert import BERTModel
    from bert.model.inference import Predictor
    from bert.model.qa import BertForQA
    from bert.model.weights import catalogue
    config = catalogue.config_of(*(harness.WEIGHTS if model == 'minilm' else
                                   (BASE, 'book_corpus_wiki_en_uncased')))
    network = BertForQA(BERTModel(config, dropout=0.1, use_pooler=False))
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
    """Random tokens; the texts are up to 8 tokens shorter than the longest."""
    import mxnet as mx
    random = np.random.RandomState(0)
    return [mx.nd.array(random.randint(1000, size=(size, length)), dtype='int32'),
            mx.nd.zeros((size, length), dtype='int32'),
            mx.nd.array(random.randint(max(1, length - 8), length + 1, size=size))]


def main():
    parser = argparse.ArgumentParser(description='worker of predictor.py')
    parser.add_argument('--model', choices=('minilm', 'base'))
    parser.add_argument('--way', choices=('network', 'predictor', 'unmasked', 'gradients'))
    parser.add_argument('--keep_memory', action='store_true')
    args = parser.parse_args()
    if args.keep_memory:
        from bert.flags import allocator
        allocator.keep_freed(training=args.way == 'gradients')     # before mxnet is imported
    compute = make_ways(args.model)[args.way]

    def answer(question):
        """{'size', 'length'} → seconds, and the scores to compare by."""
        inputs = make_inputs(question['size'], question['length'])
        started = time.time()
        scores = compute(*inputs).asnumpy()
        return {'seconds': time.time() - started, 'scores': scores.ravel().tolist()}
    harness.answer_questions(answer)


if __name__ == '__main__':
    main()
