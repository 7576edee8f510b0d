"""Vectors of texts, on the terminal or in files."""
