"""Pre-training: from text files to examples, from examples to a checkpoint folder."""
