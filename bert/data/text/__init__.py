"""Reads texts from files, stores them on disk and tokenizes them."""
