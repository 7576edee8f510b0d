"""Examples for pre-training: drawn from text, kept in shards, batched."""
