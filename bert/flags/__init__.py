"""Declarations of flags. Imports no mxnet."""
