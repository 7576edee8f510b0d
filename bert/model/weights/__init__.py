"""Weights: where they are from, their file formats, their names, and how a network gets them."""
