"""How long to train: the plan of a run, and the learning rate of each of its steps."""
import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class TrainingPlan:
    """How long to train, and how often to log, evaluate and save."""
    num_epochs: int
    num_steps: int              # optimizer steps in total
    accumulate: int = 1         # micro-batches per step
    log_interval: int = 10      # micro-batches per log line
    checkpoint_interval: int = 0    # steps between checkpoints inside an epoch; 0: none
    early_stop: int | None = None    # evaluations without a better score before stopping
    evaluation_interval: int | None = None  # steps; None: evaluate at the end of each epoch

    @classmethod
    def for_epochs(cls, options, num_examples, num_workers):
        """The plan of --epochs, or of --training_steps, on `num_examples` examples."""
        batch_size = options.batch_size * num_workers
        steps_per_epoch = count_steps(num_examples, batch_size, options.accumulate, 1)
        num_epochs, num_steps = options.epochs, steps_per_epoch * options.epochs
        if options.training_steps:
            num_steps = options.training_steps
            num_epochs = math.ceil(num_steps / steps_per_epoch)
        return cls(num_epochs, num_steps, options.accumulate, options.log_interval,
                   options.ckpt_interval, options.early_stop)


def count_steps(num_examples, batch_size, accumulate, num_epochs):
    """Optimizer steps of `num_epochs`; the last step of an epoch may hold fewer batches."""
    return math.ceil(math.ceil(num_examples / batch_size) / accumulate) * num_epochs


def linear_warmup_decay(step, num_steps, warmup_ratio, peak):
    """The learning rate of `step` (counted from 1) out of `num_steps`.

    The rate rises linearly to `peak` over the first `warmup_ratio` of the steps, then falls
    linearly. No step has rate 0; the original's first step had, so it was wasted.
    """
    num_warmup_steps = int(num_steps * warmup_ratio)
    if step <= num_warmup_steps:
        return peak * step / num_warmup_steps
    return peak * (num_steps - step + 1) / (num_steps - num_warmup_steps)
