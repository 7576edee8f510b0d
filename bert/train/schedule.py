"""Learning rate over the steps."""


def linear_warmup_decay(step, num_steps, warmup_ratio, peak):
    """The rate of `step` (counted from 1) out of `num_steps`.

    It rises linearly over the first `warmup_ratio` of the steps, then falls linearly. No step
    has rate 0: the original spent its first step at 0, and so wasted it.
    """
    warmup = int(num_steps * warmup_ratio)
    if step <= warmup:
        return peak * step / warmup
    return peak * (num_steps - step + 1) / (num_steps - warmup)
