"""SQuAD: files, windows of tokens, spans, metric."""
