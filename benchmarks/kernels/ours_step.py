"""Our side of training_step.py, in a process of its own."""
import argparse
import os
import time

from benchmarks import harness


def make_stepper(network, dtype):
    import mxnet as mx

    from bert.model.bert import is_fused, set_compute_dtype
    from bert.model.kernels.optimizer import fused_update
    from bert.train import optimizer
    from bert.train.step import Stepper
    set_compute_dtype(network, dtype)
    if not is_fused(network, dtype):
        raise SystemExit('no fused kernels with %s here' % dtype)
    loss = mx.gluon.loss.SoftmaxCELoss()

    def forward(batch):
        outputs = network(*batch.inputs)
        return loss(outputs, batch.labels), batch.labels, outputs
    trainer = optimizer.make_trainer(network.collect_params(), 'adamw', 2e-5, epsilon=1e-6,
                                     weight_decay=0.01)
    return Stepper(forward, trainer, 1, max_norm=1.0, fused=fused_update)


class Batch:
    """A batch whose arrays are made once for all steps, as the peer's are."""

    def __init__(self, size, length):
        import mxnet as mx
        self.inputs = [mx.nd.array(array, dtype=array.dtype)
                       for array in harness.random_batch(size, length)]
        self.labels = mx.nd.array([i % 2 for i in range(size)])
        self.size = size


def main():
    parser = argparse.ArgumentParser(description='worker of benchmarks.kernels.training_step')
    harness.add_model_flag(parser)
    harness.add_step_flags(parser)
    args = parser.parse_args()
    from bert.flags import allocator, threads
    threads.prepare_mxnet(int(os.environ['OMP_NUM_THREADS']))
    allocator.keep_freed_memory(training=True)    # as the scripts do
    from benchmarks.inference.ours import make_network
    stepper = make_stepper(make_network(args.model)[0], args.dtype)
    batch, num_steps = Batch(args.batch_size, args.length), 0

    def answer(question):
        nonlocal num_steps
        started = time.perf_counter()
        for _ in range(question['steps']):
            num_steps += 1
            stepper.step(num_steps, [batch], 2e-5).gradient_norm.asscalar()
            stepper.trainer._params[0].data().wait_to_read()
        return {'seconds': (time.perf_counter() - started) / question['steps'],
                'bytes': harness.peak_memory()}
    harness.answer_questions(answer)


if __name__ == '__main__':
    main()
