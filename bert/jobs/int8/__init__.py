"""INT8 models: calibrated, or tuned to a goal."""
