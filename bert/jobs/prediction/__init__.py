"""Labels, answers and scores of a trained model."""
