"""Writes a shard in the format of the original's create_pretraining_data.py: pickled objects."""
import numpy as np


def write_original(path, fill=2):
    """Write two examples: 2 5 3 6 3 with one mask, and 2 7 3 4 8 3 with two masks. The first gets
    `fill` more masks of weight 0."""
    def rows(arrays, dtype):
        array = np.empty(2, dtype=object)
        array[:] = [np.array(row, dtype=dtype) for row in arrays]
        return array
    np.savez_compressed(
        path, input_ids=rows([[2, 5, 3, 6, 3], [2, 7, 3, 4, 8, 3]], 'int32'),
        segment_ids=rows([[0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 1]], 'int32'),
        masked_lm_positions=rows([[1] + [0] * fill, [3, 4]], 'int32'),
        masked_lm_ids=rows([[5] + [0] * fill, [9, 8]], 'int32'),
        masked_lm_weights=rows([[1.0] + [0.0] * fill, [1.0, 1.0]], 'float32'),
        next_sentence_labels=np.array([1, 0], dtype='int32'),
        valid_lengths=np.array([5, 6], dtype='int32'))
