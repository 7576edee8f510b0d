"""INT8 with MXNet's operators: calibration, tuning, and measures of lost score and speed."""
