"""The job of quantize.py: calibrate an INT8 model, or tune one to a goal."""
from bert.jobs.int8 import calibration, tuning


def quantize(options, explicit):
    """Returns a `JobResult`. Raises `UserError`."""
    if options.tune:
        return tuning.tune_checkpoint(options, explicit)
    options.check(explicit)     # no run is resumed that could satisfy a rule
    return calibration.calibrate_checkpoint(options, explicit)
