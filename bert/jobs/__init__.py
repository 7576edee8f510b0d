"""Jobs: long work from files to files. Each puts data, model and training together."""
