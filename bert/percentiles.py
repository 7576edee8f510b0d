"""Percentiles of measured values, where there are enough values for them."""
PERCENTILES = (50, 90, 99)
MIN_VALUES = 20     # percentiles beside the median say nothing of fewer values


def percentiles_of(values):
    """{percentile: its value, None for those that `values`, a sequence of numbers, is too short
    for}"""
    import numpy as np  # here, because base modules must not load numpy
    return {percentile: float(np.percentile(values, percentile))
            if percentile == 50 or len(values) >= MIN_VALUES else None
            for percentile in PERCENTILES}
