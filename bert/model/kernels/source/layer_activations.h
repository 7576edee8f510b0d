// What the layers compute for the tokens of a batch, and what of it backward needs.
#pragma once

#include "attention.h"
#include "encoder.h"

namespace bert {

// Parts of the network where numbers are dropped, for `Dropout::keep`.
enum DropoutKind { DROP_EMBEDDING, DROP_ATTENTION, DROP_PROJECTION, DROP_OUT, DROPOUT_KINDS };
inline uint64_t dropout_place(int layer, DropoutKind kind, int head = 0) {
  return static_cast<uint64_t>(head) << 32 | static_cast<uint64_t>(layer * DROPOUT_KINDS + kind);
}

// The tokens of a batch without padding, one sequence after the other.
struct Tokens {
  explicit Tokens(const Batch& batch) : starts(batch.size + 1) {
    for (int row = 0; row < batch.size; ++row) {
      starts[row + 1] = starts[row] + batch.lengths[row];
      longest = std::max(longest, batch.lengths[row]);
      for (int position = 0; position < batch.lengths[row]; ++position)
        places.push_back(row * batch.length + position);
    }
  }
  int count() const { return starts.back(); }
  int sequences() const { return static_cast<int>(starts.size()) - 1; }
  int length(int sequence) const { return starts[sequence + 1] - starts[sequence]; }

  std::vector<int> starts;  // (sequences + 1,) of each sequence, and the end
  std::vector<int> places;  // (tokens,) of a token in the padded batch
  int longest = 0;
};

// What one layer computed for its tokens; pointers are to the first one. Null is not kept. Rows are
// tokens, but of a layer of firsts (`Settings`) they are sequences: the first token of each.
template <class T>
struct LayerValues {
  T* input = nullptr;        // (tokens, units)
  T* projected = nullptr;    // (tokens, 3 units): query, key, value
  T* query_input = nullptr;  // (rows, units) `input` where `rows` are, the residual too
  T* context = nullptr;      // (rows, units)
  T *attended = nullptr, *attended_normal = nullptr;  // (rows, units) after and before scaling
  T* hidden = nullptr;                                // (rows, hidden_size) before the activation
  T* out_normal = nullptr;                            // (rows, units) before scaling
  T* output = nullptr;                                // (rows, units)
  float *attended_inverse = nullptr, *out_inverse = nullptr;  // (rows,) 1 / deviation
  float* log_sums = nullptr;                                  // (heads, all tokens) of softmax

  LayerValues from(size_t token, size_t row, const Sizes& sizes) const {
    auto shift = [](auto* pointer, size_t number, size_t width) {
      return pointer ? pointer + number * width : pointer;
    };
    const size_t units = sizes.units;
    LayerValues part;
    part.input = shift(input, token, units);
    part.projected = shift(projected, token, 3 * units);
    part.query_input = shift(query_input, row, units);
    part.context = shift(context, row, units);
    part.attended = shift(attended, row, units);
    part.attended_normal = shift(attended_normal, row, units);
    part.hidden = shift(hidden, row, sizes.hidden_size);
    part.out_normal = shift(out_normal, row, units);
    part.output = shift(output, row, units);
    part.attended_inverse = shift(attended_inverse, row, 1);
    part.out_inverse = shift(out_inverse, row, 1);
    part.log_sums = shift(log_sums, token, 1);
    return part;
  }
};

// What backward needs.
template <class T>
struct SavedPass : Saved {
  SavedPass(const Tokens& tokens, const Settings& settings, uint64_t seed)
      : dropout(settings.dropout, seed), layers(settings.sizes.num_layers) {
    const Sizes& sizes = settings.sizes;
    const size_t count = tokens.count(), units = sizes.units;
    arena.arrange([&](Arena& memory) {
      memory.give(embedding_normal, count * units);
      memory.give(embedding_inverse, count);
      for (auto& layer : layers) {
        const bool is_of_firsts = settings.is_of_firsts(&layer - layers.data());
        const size_t rows = is_of_firsts ? tokens.sequences() : count;
        memory.give(layer.input, count * units);
        memory.give(layer.projected, 3 * count * units);
        layer.query_input = layer.input;
        if (is_of_firsts) memory.give(layer.query_input, rows * units);
        memory.give(layer.context, rows * units);
        memory.give(layer.attended, rows * units);
        memory.give(layer.attended_normal, rows * units);
        memory.give(layer.hidden, rows * sizes.hidden_size);
        memory.give(layer.out_normal, rows * units);
        memory.give(layer.attended_inverse, rows);
        memory.give(layer.out_inverse, rows);
        memory.give(layer.log_sums, count * sizes.num_heads);
      }
    });
    for (size_t i = 0; i + 1 < layers.size(); ++i) layers[i].output = layers[i + 1].input;
  }

  Dropout dropout;
  T* embedding_normal;
  float* embedding_inverse;
  std::vector<LayerValues<T>> layers;
  Arena arena;
};

// first: the sequence's first token, of those that `values` point to.
template <class T>
Head<T> head_of(const LayerValues<T>& values, const Settings& settings, const Tokens& tokens,
                int layer, int sequence, int head, int first, const Dropout& dropout) {
  const Sizes& sizes = settings.sizes;
  const size_t stride = 3 * sizes.units;
  const T* query = values.projected + first * stride + head * sizes.head_size();
  float* log_sums = values.log_sums;
  if (log_sums) log_sums += static_cast<size_t>(head) * tokens.count() + first;
  return {query,
          query + sizes.units,
          query + 2 * sizes.units,
          stride,
          tokens.length(sequence),
          sizes.head_size(),
          settings.is_of_firsts(layer) ? 1 : tokens.length(sequence),
          log_sums,
          &dropout,
          dropout_place(layer, DROP_ATTENTION, head),
          static_cast<uint64_t>(tokens.starts[sequence])};
}

}  // namespace bert
