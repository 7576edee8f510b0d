"""The training loop and what it needs. Gets model and batches as arguments."""
