// What the layers compute for the tokens of a batch, and which of it the forward pass saves.
#pragma once

#include "attention.h"
#include "pass_context.h"

namespace bert {

// What one layer computes. Views and pointers start at the first token, or at its row
// (`PassContext`): of the batch, or of a block. Null: not kept.
template <class T>
struct LayerActivations {
  MatrixView<T> input;             // (tokens, units)
  MatrixView<T> qkv;               // (tokens, 3 units): query, key, value
  MatrixView<T> query_input;       // (rows, units) the rows of `input`; the residual too
  MatrixView<T> query;             // (rows, units) columns of qkv, but in a selective layer
  MatrixView<T> context;           // (rows, units)
  MatrixView<T> attention_out;     // (rows, units) after the attention's layer normalisation
  MatrixView<T> attention_normal;  // (rows, units) before its gamma and beta
  MatrixView<T> hidden;            // (rows, hidden_size) before the activation
  MatrixView<T> out_normal;        // (rows, units) before gamma and beta
  MatrixView<T> output;            // (rows, units)
  float* attention_inverse_std = nullptr;  // (rows,) 1 / deviation
  float* out_inverse_std = nullptr;        // (rows,) 1 / deviation
  MatrixView<float> log_sums;              // (heads, all rows) of softmax

  // The part from a token on; row: the one that belongs to it.
  LayerActivations from(int token, int row) const {
    LayerActivations part;
    part.input = input.from_row(token);
    part.qkv = qkv.from_row(token);
    part.query_input = query_input.from_row(row);
    part.query = query.from_row(row);
    part.context = context.from_row(row);
    part.attention_out = attention_out.from_row(row);
    part.attention_normal = attention_normal.from_row(row);
    part.hidden = hidden.from_row(row);
    part.out_normal = out_normal.from_row(row);
    part.output = output.from_row(row);
    part.attention_inverse_std = attention_inverse_std ? attention_inverse_std + row : nullptr;
    part.out_inverse_std = out_inverse_std ? out_inverse_std + row : nullptr;
    part.log_sums = log_sums.from_column(row);
    return part;
  }
};

// What the backward pass needs of a forward pass.
template <class T>
struct TypedSavedActivations : SavedActivations {
  TypedSavedActivations(const PassContext& context, uint64_t seed)
      : dropout(context.settings.dropout, seed), layers(context.sizes.num_layers) {
    const Sizes& sizes = context.sizes;
    const size_t tokens = context.tokens.count(), units = sizes.units;
    arena.arrange([&](Arena& memory) {
      memory.allocate(embedding_normal, tokens, sizes.embedding_size);
      if (sizes.has_narrow_embeddings()) memory.allocate(embeddings, tokens, sizes.embedding_size);
      memory.allocate(embedding_inverse_std, tokens);
      for (int i = 0; i < sizes.num_layers; ++i) {
        LayerActivations<T>& layer = layers[i];
        const size_t rows = context.number_of_rows(i);
        memory.allocate(layer.input, tokens, units);
        memory.allocate(layer.qkv, tokens, 3 * units);
        layer.query_input = layer.input;
        layer.query = layer.qkv;
        if (context.settings.is_selective(i))
          for (MatrixView<T>* matrix : {&layer.query_input, &layer.query})
            memory.allocate(*matrix, rows, units);
        memory.allocate(layer.context, rows, units);
        memory.allocate(layer.attention_out, rows, units);
        memory.allocate(layer.attention_normal, rows, units);
        memory.allocate(layer.hidden, rows, sizes.hidden_size);
        memory.allocate(layer.out_normal, rows, units);
        memory.allocate(layer.attention_inverse_std, rows);
        memory.allocate(layer.out_inverse_std, rows);
        memory.allocate(layer.log_sums, sizes.num_heads, rows);
      }
    });
    for (size_t i = 0; i + 1 < layers.size(); ++i) layers[i].output = layers[i + 1].input;
  }

  Dropout dropout;
  MatrixView<T> embedding_normal;  // (tokens, embedding_size) before gamma and beta
  MatrixView<T> embeddings;        // (tokens, embedding_size), if they are narrow
  float* embedding_inverse_std;    // (tokens,) 1 / deviation
  std::vector<LayerActivations<T>> layers;
  Arena arena;
};

// One head of a sequence, of whose tokens and rows the first have these numbers in the activations.
template <class T>
Head<T> head_of(const LayerActivations<T>& activations, const PassContext& context, int layer,
                int sequence, int head, int first_token, int first_row, const Dropout& dropout) {
  const Sizes& sizes = context.sizes;
  const int column = head * sizes.head_size();
  const MatrixView<const T> qkv = activations.qkv.from_row(first_token).from_column(column);
  const Range rows = context.rows_of(layer, {sequence, sequence + 1});
  return {activations.query.from_row(first_row).from_column(column),
          qkv.from_column(sizes.units),
          qkv.from_column(2 * sizes.units),
          context.tokens.length(sequence),
          sizes.head_size(),
          rows.size(),
          context.settings.is_selective(layer) ? &context.batch.selected[rows.begin] : nullptr,
          activations.log_sums ? activations.log_sums.at(head, first_row) : nullptr,
          &dropout,
          dropout_site(layer, DROP_ATTENTION, head),
          static_cast<uint64_t>(context.tokens.starts[sequence])};
}

}  // namespace bert
