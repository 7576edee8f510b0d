"""INT8 models: calibrates them, or tunes them to a goal."""
