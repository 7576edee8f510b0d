"""Networks as files that run without their Python code."""
