"""Parts that the jobs share: run folders, results, executors, the training of a model."""
