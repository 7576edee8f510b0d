"""The job of quantize.py: calibrate an INT8 model, or tune one to a goal."""
from bert.jobs.int8 import calibration, tuning


def quantize(options, explicit):
    """Returns a `JobResult`. Raises `UserError`."""
    work = tuning.tune_checkpoint if options.tune else calibration.calibrate_checkpoint
    return work(options, explicit)
