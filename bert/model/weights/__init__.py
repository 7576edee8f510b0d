"""Weights: their sources, their file formats, their names, and loading them into networks."""
