"""One recipe a file: puts data, model and train together."""
