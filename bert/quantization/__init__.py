"""INT8 by MXNet's operators: calibration, tuning, what was lost and what it is worth."""
