"""Text in, answers out, in memory."""
