"""Comparisons with other programs, each run as `./run python -m benchmarks.squad.speed`."""
