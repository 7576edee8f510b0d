"""Pre-training data: draws examples from text, stores them in shards, and batches them."""
