"""Texts: read from files, kept on the disk, tokenized."""
