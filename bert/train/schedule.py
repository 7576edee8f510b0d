"""The learning-rate schedule: warm-up and decay over the steps. `Trainer.fit` of
jobs/runs/training.py chooses it for a run."""


def linear_warmup_decay(step, num_steps, warmup_ratio, peak):
    """The learning rate of `step` (counted from 1) out of `num_steps`.

    The rate rises linearly to `peak` over the first `warmup_ratio` of the steps, then falls
    linearly. No step has rate 0; the original's first step had, so it was wasted.
    """
    num_warmup_steps = int(num_steps * warmup_ratio)
    if step <= num_warmup_steps:
        return peak * step / num_warmup_steps
    return peak * (num_steps - step + 1) / (num_steps - num_warmup_steps)
