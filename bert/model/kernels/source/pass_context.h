// What the forward and the backward pass share: the network's sizes and parameters, and the batch.
#pragma once

#include <algorithm>

#include "encoder.h"
#include "matrix.h"
#include "numbers.h"
#include "team.h"

namespace bert {

// The tokens that a thread computes at a time: they stay in its L2 cache, together with what is
// computed of them. 384 KiB of input for BERT base, of 1 MiB on the CPU that this was tuned on.
template <class T>
constexpr int BLOCK_TOKENS = 128 * PER_WORD<T>;

// The tokens of a batch without padding, one sequence after the other.
struct Tokens {
  explicit Tokens(const Batch& batch) : starts(batch.size + 1) {
    for (int row = 0; row < batch.size; ++row) {
      starts[row + 1] = starts[row] + batch.lengths[row];
      longest = std::max(longest, batch.lengths[row]);
      for (int position = 0; position < batch.lengths[row]; ++position)
        padded_indices.push_back(row * batch.length + position);
    }
  }
  int count() const { return starts.back(); }
  int sequences() const { return static_cast<int>(starts.size()) - 1; }
  int length(int sequence) const { return starts[sequence + 1] - starts[sequence]; }
  // The tokens of neighbouring sequences.
  Range of(Range sequences) const { return {starts[sequences.begin], starts[sequences.end]}; }

  std::vector<int> starts;  // (sequences + 1,) the first token of each sequence, and the end
  std::vector<int> padded_indices;  // (tokens,) the index of a token in the padded batch
  int longest = 0;
};

// The rows of a layer after its keys and values are the tokens, but in a layer that is selective
// (`Settings`) the selected tokens of one sequence after the other.
struct PassContext {
  PassContext(const Settings& settings, const Batch& batch,
              const std::vector<Parameter>& parameters)
      : settings(settings), sizes(settings.sizes), batch(batch), parameters(parameters),
        tokens(batch) {}

  const float* parameter(int index) const { return parameters[index].values; }
  // A parameter whose rows have `embedding_size` columns.
  MatrixView<const float> embedding(int index) const {
    return MatrixView<const float>(parameter(index), sizes.embedding_size);
  }

  int number_of_rows(int layer) const { return rows_of(layer, {0, tokens.sequences()}).size(); }
  // The rows of neighbouring sequences.
  Range rows_of(int layer, Range sequences) const {
    if (!settings.is_selective(layer)) return tokens.of(sequences);
    return {sequences.begin * settings.selected, sequences.end * settings.selected};
  }
  int token_of_row(int layer, int row) const {
    if (!settings.is_selective(layer)) return row;
    return tokens.starts[row / settings.selected] + batch.selected[row];
  }

  const Settings& settings;
  const Sizes& sizes;
  const Batch& batch;
  const std::vector<Parameter>& parameters;
  const Tokens tokens;
};

// The dropouts of the network, each of which draws other random numbers (`Dropout`).
enum DropoutKind { DROP_EMBEDDING, DROP_ATTENTION, DROP_PROJECTION, DROP_OUT, DROPOUT_KINDS };
inline uint64_t dropout_site(int layer, DropoutKind kind, int head = 0) {
  return static_cast<uint64_t>(head) << 32 | static_cast<uint64_t>(layer * DROPOUT_KINDS + kind);
}

}  // namespace bert
