"""Flag declarations. Nothing here imports mxnet."""
