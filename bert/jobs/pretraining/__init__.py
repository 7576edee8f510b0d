"""Pre-training: turns text files into examples, and examples into a checkpoint folder."""
