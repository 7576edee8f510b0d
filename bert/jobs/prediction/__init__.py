"""Jobs that run a trained model: labels, answers and scores."""
