"""What every training run has: its folder, its results, its workers."""
