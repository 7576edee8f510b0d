"""SQuAD: its files, windows of tokens, answer spans and metric."""
