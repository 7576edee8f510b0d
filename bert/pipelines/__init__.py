"""Pipelines: text in, answers out, in memory."""
