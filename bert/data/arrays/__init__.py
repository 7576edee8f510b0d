"""Ragged arrays, and NumPy files larger than memory."""
