// The backward pass: gradients of all parameters, layer after layer from the last. What belongs to
// a row (`PassContext`) is computed by the thread that owns the row. The gradients of weights sum
// over all rows; each thread computes columns of them.
#pragma once

#include "activations.h"
#include "layer_activations.h"
#include "weights.h"

namespace bert {

template <class T>
class BackwardPass {
 public:
  BackwardPass(const PassContext& context, const PackedWeights<T>& weights,
               const TypedSavedActivations<T>& saved, const float* output_gradient,
               const std::vector<Gradient>& gradients)
      : context_(context), weights_(weights), saved_(saved),
        output_gradient_(output_gradient, context.settings.output_width), gradients_(gradients) {
    reserve();
  }

  void run() {
    Region region(context_.settings.threads);
#pragma omp parallel num_threads(context_.settings.threads)
    {
      const Team team = Team::of_region(region);
      const Range tokens = team.share(context_.tokens.count());
      VectorGradients& vectors = vector_gradients_[team.rank];
      start_gradient(team);
      for (int layer = context_.sizes.num_layers - 1; layer >= 0; --layer) {
        const Range rows = team.share(context_.number_of_rows(layer));
        vectors.clear(context_.sizes);
        backward_feed_forward(layer, rows, team, vectors);
        backward_attention(layer, rows, tokens, team, vectors);
        reduce_vector_gradients(layer, team);
        add_output_gradient(layer, tokens, state_gradient_);
      }
      backward_embedding(tokens, team, vectors);
    }
  }

 private:
  // The gradients of all vectors of a layer, summed over one thread's tokens.
  struct VectorGradients {
    float *bias[3], *projection_bias, *attention_gamma, *attention_beta;
    float *out_bias, *out_gamma, *out_beta, *hidden_bias;
    float* all;  // they stand one after the other, in this order:
    static constexpr int ORDER[] = {QUERY_BIAS,      KEY_BIAS,       VALUE_BIAS, PROJECTION_BIAS,
                                    ATTENTION_GAMMA, ATTENTION_BETA, OUT_BIAS,   OUT_GAMMA,
                                    OUT_BETA,        HIDDEN_BIAS};

    static size_t count(const Sizes& sizes) {
      return 9 * static_cast<size_t>(sizes.units) + sizes.hidden_size;
    }
    void set_pointers(const Sizes& sizes) {
      float* next = all;
      for (float** vector : {&bias[0], &bias[1], &bias[2], &projection_bias, &attention_gamma,
                             &attention_beta, &out_bias, &out_gamma, &out_beta, &hidden_bias}) {
        *vector = next;
        next += sizes.units;
      }
    }
    void clear(const Sizes& sizes) { std::fill_n(all, count(sizes), 0.f); }
  };

  void reserve() {
    const int last = context_.sizes.num_layers - 1;
    const size_t tokens = context_.tokens.count(), last_rows = context_.number_of_rows(last);
    const size_t rows = std::max(tokens, last_rows);
    const size_t units = context_.sizes.units, hidden_size = context_.sizes.hidden_size;
    const size_t words = round_up(rows, PER_WORD<T>) / PER_WORD<T>;
    const size_t widest = std::max(3 * units, hidden_size);
    vector_gradients_.resize(context_.settings.threads);
    attentions_.resize(context_.settings.threads);
    arena_.arrange([&](Arena& arena) {
      arena.allocate(state_gradient_, tokens, units);
      if (context_.settings.selected) {
        arena.allocate(selected_gradient_, last_rows, units);
        arena.allocate(selected_query_gradient_, last_rows, units);
      }
      if (context_.sizes.has_narrow_embeddings())
        arena.allocate(narrow_gradient_, tokens, context_.sizes.embedding_size);
      arena.allocate(dense_gradient_, rows, units);
      arena.allocate(hidden_gradient_, rows, hidden_size);
      arena.allocate(context_gradient_, rows, units);
      arena.allocate(qkv_gradient_, tokens, 3 * units);
      arena.allocate(packed_a_, (words + PackedA::PAD) * widest);
      arena.allocate(packed_b_, words * std::max(units, hidden_size));
      for (auto& vectors : vector_gradients_)
        arena.allocate(vectors.all, VectorGradients::count(context_.sizes));
      for (auto& attention : attentions_)
        attention.reserve(arena, context_.tokens.longest,
                          std::max(context_.tokens.longest, context_.settings.selected),
                          context_.sizes.head_size(), true);
    });
    for (auto& vectors : vector_gradients_) vectors.set_pointers(context_.sizes);
  }

  // Calls `compute(block)` for as many rows at a time as stay in the cache.
  template <class Compute>
  static void for_each_block(Range rows, Compute compute) {
    for (int first = rows.begin; first < rows.end; first += BLOCK_TOKENS<T>)
      compute(Range{first, std::min(rows.end, first + BLOCK_TOKENS<T>)});
  }

  static void clear_rows(MatrixView<float> matrix, Range rows) {
    std::fill(matrix.row(rows.begin), matrix.row(rows.end), 0.f);
  }

  // (rows, units) the gradient of the output of a layer. On the way back through the layer it
  // becomes the gradient of one residual sum after the other.
  MatrixView<float> row_gradient(int layer) const {
    return context_.settings.is_selective(layer) ? selected_gradient_ : state_gradient_;
  }

  // The gradient of the output of the last layer.
  void start_gradient(const Team& team) {
    const int last = context_.sizes.num_layers - 1;
    const Range rows = team.share(context_.number_of_rows(last));
    clear_rows(row_gradient(last), rows);
    add_output_gradient(context_.sizes.num_layers, rows, row_gradient(last));
  }

  // Adds to the gradient of a hidden state what comes from the pass's output.
  void add_output_gradient(int state, Range rows, MatrixView<float> gradient) {
    for (const Output& output : context_.settings.outputs)
      for (int row = rows.begin; output.state == state && row < rows.end; ++row) {
        const int index = context_.settings.selected ? row : context_.tokens.padded_indices[row];
        const float* outer = output_gradient_.at(index, output.column);
        for (int i = 0; i < context_.sizes.units; i += LANES)
          add_to(gradient.at(row, i), load(outer + i) * spread(output.scale));
      }
  }

  void backward_feed_forward(int layer, Range rows, const Team& team, VectorGradients& vectors) {
    const LayerActivations<T>& activations = saved_.layers[layer];
    for_each_block(rows, [&](Range block) {
      backward_layer_norm(layer, block, activations.out_normal, activations.out_inverse_std,
                          OUT_GAMMA, DROP_OUT, vectors.out_gamma, vectors.out_beta,
                          vectors.out_bias);
      backward_hidden(layer, block, activations, vectors);
    });
    const int count = context_.number_of_rows(layer);
    with_activation<T>(context_.settings.activation, [&](auto activation) {
      compute_weight_gradient(team, count, reader(dense_gradient_), context_.sizes.units,
                              [&](int row, int column) {
                                return activation.value(load(activations.hidden.at(row, column)));
                              },
                              context_.sizes.hidden_size, {index_of(layer, OUT)});
    });
    compute_weight_gradient(team, count, reader(hidden_gradient_), context_.sizes.hidden_size,
                            reader(activations.attention_out), context_.sizes.units,
                            {index_of(layer, HIDDEN)});
  }

  // Layer normalisation and dropout, backward. The row gradient becomes that of the residual sum,
  // dense_gradient_ that of the input of dropout, which is the output of a dense layer.
  void backward_layer_norm(int layer, Range block, MatrixView<const T> normals,
                           const float* inverse_stds, LayerParameter gamma, DropoutKind kind,
                           float* gamma_gradient, float* beta_gradient, float* bias_gradient) {
    const uint64_t site = dropout_site(layer, kind);
    for (int row = block.begin; row < block.end; ++row) {
      float* gradient = row_gradient(layer).row(row);
      normalize_backward(gradient, context_.sizes.units, normals.row(row), inverse_stds[row],
                         context_.parameter(index_of(layer, gamma)), gamma_gradient, beta_gradient);
      const int token = context_.token_of_row(layer, row);
      for (int i = 0; i < context_.sizes.units; i += LANES) {
        const Vector x = saved_.dropout.apply(load(gradient + i), site, token, i);
        store(dense_gradient_.at(row, i), x);
        add_to(bias_gradient + i, x);
      }
    }
  }

  // From dense_gradient_ to hidden_gradient_, that before the activation, and on to the gradient of
  // the feed-forward layer's input.
  void backward_hidden(int layer, Range block, const LayerActivations<T>& activations,
                       VectorGradients& vectors) {
    const MatrixView<const T> hidden = activations.hidden.from_row(block.begin);
    const MatrixView<T> gradient = hidden_gradient_.from_row(block.begin);
    with_activation<T>(context_.settings.activation, [&](auto activation) {
      multiply<T>(
          operand_a(dense_gradient_.from_row(block.begin)), block.size(),
          weights_[index_of(layer, OUT)],
          [&](int column) {
            float* bias_gradient = vectors.hidden_bias + column;
            return [=](int row, Vector sum) {
              const Vector x = load(hidden.at(row, column));
              sum = sum * activation.gradient(x);
              store(gradient.at(row, column), sum);
              add_to(bias_gradient, sum);
            };
          },
          [&](Range tile_rows, Range columns) {  // far apart: the CPU does not see them coming
            for (int row = tile_rows.begin; row < tile_rows.end; ++row)
              Ahead{reinterpret_cast<const char*>(hidden.at(row, columns.begin)),
                    columns.size() * sizeof(T)}
                  .prefetch();
          });
    });
    add_product(hidden_gradient_, block, weights_[index_of(layer, HIDDEN)], row_gradient(layer));
  }

  // gradient += values · weight, of the rows of a block
  void add_product(MatrixView<const T> values, Range block, const PackedB& weight,
                   MatrixView<float> gradient) {
    constexpr int DEPTH = KC / PER_WORD<T>;
    const MatrixView<const T> rows = values.from_row(block.begin);
    const MatrixView<float> target = gradient.from_row(block.begin);
    for (int word = 0; word < weight.depth; word += DEPTH)
      multiply<T>(operand_a(rows.from_column(static_cast<size_t>(word) * PER_WORD<T>)),
                  block.size(), weight, {0, weight.columns},
                  {word, std::min(weight.depth, word + DEPTH)}, [&](int column) {
                    return [=](int row, Vector sum) { add_to(target.at(row, column), sum); };
                  });
  }

  void backward_attention(int layer, Range rows, Range tokens, const Team& team,
                          VectorGradients& vectors) {
    const LayerActivations<T>& activations = saved_.layers[layer];
    const bool is_selective = context_.settings.is_selective(layer);
    const int units = context_.sizes.units;
    for_each_block(rows, [&](Range block) {
      backward_layer_norm(layer, block, activations.attention_normal,
                          activations.attention_inverse_std, ATTENTION_GAMMA, DROP_PROJECTION,
                          vectors.attention_gamma, vectors.attention_beta, vectors.projection_bias);
      const MatrixView<T> gradient = context_gradient_.from_row(block.begin);
      multiply<T>(operand_a(dense_gradient_.from_row(block.begin)), block.size(),
                  weights_[index_of(layer, PROJECTION)], [&](int column) {
                    return [=](int row, Vector sum) { store(gradient.at(row, column), sum); };
                  });
    });
    team.barrier();
    backward_heads(layer, activations, team);
    compute_weight_gradient(team, context_.number_of_rows(layer), reader(dense_gradient_), units,
                            reader(activations.context), units, {index_of(layer, PROJECTION)});
    if (is_selective) {
      for_each_block(rows, [&](Range block) {
        backward_projection(layer, 0, block, selected_query_gradient_, selected_gradient_, vectors);
      });
      compute_weight_gradient(team, context_.number_of_rows(layer),
                              reader(selected_query_gradient_), units,
                              reader(activations.query_input), units, {index_of(layer, QUERY)});
      scatter_selected_gradient(layer, tokens);
    }
    const int first = is_selective ? 1 : 0;
    for_each_block(tokens, [&](Range block) {
      for (int i = first; i < 3; ++i)
        backward_projection(layer, i, block, qkv_gradient_.from_column(i * units), state_gradient_,
                            vectors);
    });
    std::vector<int> indices;
    for (int i = first; i < 3; ++i) indices.push_back(index_of(layer, QKV[i]));
    compute_weight_gradient(team, context_.tokens.count(),
                            reader(qkv_gradient_.from_column(first * units)), (3 - first) * units,
                            reader(activations.input), units, indices);
  }

  // From the gradient of queries, keys or values, the i-th of them, to that of their input.
  void backward_projection(int layer, int i, Range block, MatrixView<const T> gradient,
                           MatrixView<float> input_gradient, VectorGradients& vectors) {
    add_product(gradient, block, weights_[index_of(layer, QKV[i])], input_gradient);
    for (int row = block.begin; row < block.end; ++row)
      for (int j = 0; j < context_.sizes.units; j += LANES)
        add_to(vectors.bias[i] + j, load(gradient.at(row, j)));
  }

  // The gradients of selected tokens become those of all `tokens`: so far others have none.
  void scatter_selected_gradient(int layer, Range tokens) {
    clear_rows(state_gradient_, tokens);
    for (int row = 0; row < context_.number_of_rows(layer); ++row) {
      const int token = context_.token_of_row(layer, row);
      if (token < tokens.begin || token >= tokens.end) continue;
      for (int i = 0; i < context_.sizes.units; i += LANES)
        add_to(state_gradient_.at(token, i), load(selected_gradient_.at(row, i)));
    }
  }

  void backward_heads(int layer, const LayerActivations<T>& activations, const Team& team) {
    const int heads = context_.sizes.num_heads, units = context_.sizes.units;
    const bool is_selective = context_.settings.is_selective(layer);
    const Range share = team.share(context_.tokens.sequences() * heads);
    for (int task = share.begin; task < share.end; ++task) {
      const int sequence = task / heads, head = task % heads;
      const int token = context_.tokens.starts[sequence];
      const int row = context_.rows_of(layer, {sequence, sequence + 1}).begin;
      const int column = head * context_.sizes.head_size();
      const MatrixView<T> gradient = qkv_gradient_.from_row(token).from_column(column);
      attentions_[team.rank].backward(
          head_of(activations, context_, layer, sequence, head, token, row, saved_.dropout),
          activations.context.from_row(row).from_column(column),
          context_gradient_.from_row(row).from_column(column),
          is_selective ? selected_query_gradient_.from_row(row).from_column(column) : gradient,
          gradient.from_column(units), gradient.from_column(2 * units));
    }
  }

  // LANES numbers of a row of a matrix.
  template <class Number>
  static auto reader(MatrixView<Number> matrix) {
    return [=](int row, int column) { return load(matrix.at(row, column)); };
  }

  // Gradients of weights, one below the other: outᵀ · in, over `count` rows. read_out gives (rows,
  // out_width) gradients of the outputs of dense layers, read_in (rows, in_width) their inputs.
  template <class ReadOut, class ReadIn>
  void compute_weight_gradient(const Team& team, int count, ReadOut read_out, int out_width,
                               ReadIn read_in, int in_width, const std::vector<int>& indices) {
    const int words = (count + PER_WORD<T> - 1) / PER_WORD<T>;
    PackedA a = {packed_a_, words, out_width};
    PackedB b = {packed_b_, words, in_width};
    team.barrier();  // all rows are there, and nobody reads packed_a_ and packed_b_ any more
    const Range share = team.share(words);
    pack_a<T>(read_out, count, share, a);
    pack_b<T>(read_in, count, {0, in_width}, share, b);
    team.barrier();
    const int height = out_width / static_cast<int>(indices.size());
    int row = 0;
    for (int index : indices) {
      const Gradient& gradient = gradients_[index];
      multiply_packed<T>(a, {row, row + height}, b, share_columns(team, in_width),
                         MatrixView<float>(gradient.values, in_width), gradient.accumulate);
      row += height;
    }
  }

  // Gradients of a layer's vectors: the sums over all threads.
  void reduce_vector_gradients(int layer, const Team& team) {
    team.barrier();
    int start = 0;
    for (int parameter : VectorGradients::ORDER) {
      const int width =
          parameter == HIDDEN_BIAS ? context_.sizes.hidden_size : context_.sizes.units;
      const Range share = team.share(width, LANES);
      for (int i = share.begin; i < share.end; i += LANES)
        reduce(index_of(layer, parameter), i, team,
               [&](const VectorGradients& vectors) { return vectors.all + start + i; });
      start += width;
    }
    team.barrier();
  }

  // LANES numbers of a gradient from `column` on: the sum of what `find(vectors)` points to, over
  // the team, which may have fewer threads than were asked for.
  template <class Find>
  void reduce(int index, int column, const Team& team, Find find) {
    const Gradient& gradient = gradients_[index];
    Vector sum = gradient.accumulate ? load(gradient.values + column) : spread(0);
    for (int rank = 0; rank < team.size; ++rank) sum = sum + load(find(vector_gradients_[rank]));
    store(gradient.values + column, sum);
  }

  // The dense layer after narrow embeddings; dropout, layer normalisation and the three embeddings,
  // backward.
  void backward_embedding(Range tokens, const Team& team, VectorGradients& vectors) {
    const int width = context_.sizes.embedding_size;
    const bool is_narrow = context_.sizes.has_narrow_embeddings();
    const MatrixView<float> gradients = is_narrow ? narrow_gradient_ : state_gradient_;
    vectors.clear(context_.sizes);
    if (is_narrow) backward_embedding_projection(tokens, team, vectors);
    for (int token = tokens.begin; token < tokens.end; ++token) {
      float* gradient = gradients.row(token);
      for (int i = 0; i < width; i += LANES)
        store(gradient + i,
              saved_.dropout.apply(load(gradient + i), dropout_site(0, DROP_EMBEDDING), token, i));
      normalize_backward(gradient, width, saved_.embedding_normal.row(token),
                         saved_.embedding_inverse_std[token], context_.parameter(EMBEDDING_GAMMA),
                         vectors.out_gamma, vectors.out_beta);
    }
    for (int index : {WORDS, TYPES, POSITIONS}) clear_embedding_gradient(index, team);
    team.barrier();
    const Range columns = team.share(width, LANES);
    for (int i = columns.begin; i < columns.end; i += LANES) {
      reduce(EMBEDDING_GAMMA, i, team,
             [&](const VectorGradients& vectors) { return vectors.out_gamma + i; });
      reduce(EMBEDDING_BETA, i, team,
             [&](const VectorGradients& vectors) { return vectors.out_beta + i; });
    }
    add_embedding_gradients(gradients, columns);
  }

  // From the gradient of the first layer's input to narrow_gradient_.
  void backward_embedding_projection(Range tokens, const Team& team, VectorGradients& vectors) {
    const int units = context_.sizes.units, matrix = embedding_projection(context_.sizes);
    for_each_block(tokens, [&](Range block) {
      for (int row = block.begin; row < block.end; ++row)
        for (int i = 0; i < units; i += LANES) {
          const Vector x = load(state_gradient_.at(row, i));
          store(dense_gradient_.at(row, i), x);
          add_to(vectors.out_bias + i, x);
        }
      clear_rows(narrow_gradient_, block);
      add_product(dense_gradient_, block, weights_[matrix], narrow_gradient_);
    });
    compute_weight_gradient(team, context_.tokens.count(), reader(dense_gradient_), units,
                            reader(saved_.embeddings), context_.sizes.embedding_size, {matrix});
    const Range columns = team.share(units, LANES);
    for (int i = columns.begin; i < columns.end; i += LANES)
      reduce(matrix + 1, i, team,
             [&](const VectorGradients& vectors) { return vectors.out_bias + i; });
  }

  // All threads go through all tokens, each for columns of its own: no two write the same numbers.
  void add_embedding_gradients(MatrixView<const float> gradients, Range columns) {
    const Batch& batch = context_.batch;
    for (int token = 0; token < context_.tokens.count(); ++token) {
      const int index = context_.tokens.padded_indices[token];
      const float* gradient = gradients.row(token);
      float* word = embedding_gradient(WORDS).row(batch.tokens[index]);
      float* type = embedding_gradient(TYPES).row(batch.segments[index]);
      float* position = embedding_gradient(POSITIONS).row(index % batch.length);
      for (int i = columns.begin; i < columns.end; i += LANES) {
        const Vector x = load(gradient + i);
        add_to(word + i, x);
        add_to(type + i, x);
        add_to(position + i, x);
      }
    }
  }

  MatrixView<float> embedding_gradient(int index) const {
    return MatrixView<float>(gradients_[index].values, context_.sizes.embedding_size);
  }

  void clear_embedding_gradient(int index, const Team& team) {
    if (!gradients_[index].accumulate)
      clear_rows(embedding_gradient(index), team.share(shape_of(context_.sizes, index).first));
  }

  const PassContext& context_;
  const PackedWeights<T>& weights_;
  const TypedSavedActivations<T>& saved_;
  MatrixView<const float> output_gradient_;
  const std::vector<Gradient>& gradients_;
  MatrixView<float> state_gradient_;       // (tokens, units) of the hidden state that is reached
  MatrixView<float> selected_gradient_;    // (rows, units) the same in a selective layer
  MatrixView<float> narrow_gradient_;      // (tokens, embedding_size) of narrow embeddings
  MatrixView<T> dense_gradient_;           // (rows, units) of the output of a dense layer
  MatrixView<T> hidden_gradient_;          // (rows, hidden_size) before the activation
  MatrixView<T> context_gradient_;         // (rows, units)
  MatrixView<T> qkv_gradient_;             // (tokens, 3 units)
  MatrixView<T> selected_query_gradient_;  // (rows, units) of the queries of a selective layer
  Word *packed_a_, *packed_b_;             // operands of `compute_weight_gradient`
  std::vector<VectorGradients> vector_gradients_;  // for each thread
  std::vector<Attention<T>> attentions_;           // for each thread
  Arena arena_;
};

}  // namespace bert
