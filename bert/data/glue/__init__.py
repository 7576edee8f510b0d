"""Sentence tasks: their table, files and labels."""
