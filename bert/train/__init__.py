"""The training loop with its parts. Gets model and batches as arguments."""
