"""Fine-tuning: trains a model on a task, from data files to a checkpoint folder."""
