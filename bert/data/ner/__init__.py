"""Tags of words: CoNLL files, entities, and their score."""
