"""Text to batches. Knows no model."""
from bert.data import transform  # noqa: F401  (the tutorial's `from bert import data`)
