"""The worker of single_text.py: texts through a pipeline, and token ids through its network."""
import argparse
import dataclasses
import os
import statistics
import time

import numpy as np

from benchmarks import harness

REPEATS = 30        # calls for an answer; the median counts
PAUSE = 0.02        # seconds, in which the threads fall asleep
WORD = 'film'       # a single token of the vocabulary
# A network that costs next to nothing to compute: what is left is the cost of a call.
SMALLEST = {'num_layers': 1, 'units': 32, 'hidden_size': 32, 'num_heads': 1}


def make_pipeline(model, dtype):
    """A classifier of two classes with random weights. model: 'minilm', 'base' or 'smallest'."""
    import mxnet as mx

    from benchmarks.inference.ours import config_of
    from bert.data.text.tokenizer import BertTokenizer
    from bert.model import zoo
    from bert.model.bert import BERTModel, set_compute_dtype
    from bert.model.classification import BERTClassifier
    from bert.pipelines.classification import Classifier
    config = config_of('minilm' if model == 'smallest' else model)
    if model == 'smallest':
        config = dataclasses.replace(config, **SMALLEST)
    network = BERTClassifier(BERTModel(config, dropout=0.0), 2, dropout=0.0)
    mx.random.seed(0)
    network.initialize(mx.init.Normal(0.02))
    set_compute_dtype(network, dtype)
    network.hybridize()
    _, vocabulary = zoo.get_model(*harness.WEIGHTS, use_decoder=False, use_classifier=False)
    task = {'name': 'random', 'labels': ['a', 'b'], 'pair': False, 'metrics': ['accuracy']}
    return Classifier(network, BertTokenizer(vocabulary, lower=True), config, task, 512)


def measure(function, pause=0):
    """Seconds of a call, the median. pause: seconds before each call."""
    seconds = []
    for _ in range(REPEATS):
        time.sleep(pause)
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def main():
    parser = argparse.ArgumentParser(description='worker of benchmarks.inference.single_text')
    parser.add_argument('--model', choices=('minilm', 'base', 'smallest'))
    parser.add_argument('--dtype')
    args = parser.parse_args()
    from bert.flags import threads
    threads.prepare_mxnet(int(os.environ['OMP_NUM_THREADS']))
    import mxnet as mx
    pipeline = make_pipeline(args.model, args.dtype)

    def answer(question):
        text = ' '.join([WORD] * (question['length'] - 2))      # [CLS] and [SEP]
        ids = np.zeros((1, question['length']), 'int32')
        arrays = [mx.nd.array(ids, dtype='int32'), mx.nd.array(ids, dtype='int32'),
                  mx.nd.array([question['length']])]
        pipeline(text)
        return {'pipeline': measure(lambda: pipeline(text)),
                'paused': measure(lambda: pipeline(text), PAUSE),
                'network': measure(lambda: pipeline.network(*arrays).wait_to_read())}
    harness.answer_questions(answer)


if __name__ == '__main__':
    main()
