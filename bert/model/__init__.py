"""Batches to outputs. Knows no task and no data-set format."""
