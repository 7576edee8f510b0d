"""Training a model on a task, from files to a checkpoint folder."""
