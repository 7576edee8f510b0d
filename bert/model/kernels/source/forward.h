// The forward pass. Each thread takes one task after the other: a block of whole sequences, of a
// few hundred tokens, through all of a layer. Where there are too few sequences for that, all
// threads share each product. README.md has a picture of it.
#pragma once

#include "activations.h"
#include "blocks.h"
#include "layer_activations.h"
#include "weights.h"

namespace bert {

// Weights: how products are computed, `PackedWeights<T>` or `QuantizedWeights<T>`.
template <class T, class Weights>
class ForwardPass {
 public:
  // saved: where the activations go for the backward pass, or null.
  ForwardPass(const PassContext& context, const Weights& weights, TypedSavedActivations<T>* saved,
              float* output)
      : context_(context), weights_(weights), saved_(saved),
        output_(output, context.settings.output_width),
        blocks_(context.tokens, context.settings.threads, Weights::BLOCK_TOKENS) {
    if (saved) dropout_ = saved->dropout;
    reserve();
  }

  void run() {
    Region region(context_.settings.threads);
#pragma omp parallel num_threads(context_.settings.threads)
    {
      const Team all = Team::of_region(region);
      if (blocks_.is_shared())
        run_together(all);
      else
        run_tasks(all.rank);
    }
  }

 private:
  // What a team needs for one block after the other. (rows of a block, …)
  struct Scratch {
    MatrixView<float> sums;           // units
    MatrixView<T> embeddings;         // embedding_size, if embeddings are narrow
    MatrixView<T> hidden_output;      // hidden_size, or KC columns of it
    LayerActivations<T> activations;  // where nothing is saved
    MatrixView<T> unread_output;      // units: of the last layer, which no layer reads
    typename Weights::OperandBuffer operand_buffer;  // of the product that is computed
  };

  void reserve() {
    const Settings& settings = context_.settings;
    const Sizes& sizes = context_.sizes;
    const Tokens& tokens = context_.tokens;
    const size_t rows = blocks_.largest(), units = sizes.units;
    scratch_.resize(blocks_.is_shared() ? 1 : settings.threads);
    attentions_.resize(settings.threads);
    arena_.arrange([&](Arena& arena) {
      if (!saved_) arena.allocate(states_, tokens.count(), units);
      if (!saved_ && settings.selected)
        for (MatrixView<T>* matrix : {&selected_.query_input, &selected_.query, &selected_.context,
                                      &selected_.attention_out, &selected_.output})
          arena.allocate(*matrix, context_.number_of_rows(sizes.num_layers - 1), units);
      for (auto& attention : attentions_)
        attention.reserve(arena, tokens.longest, std::max(tokens.longest, settings.selected),
                          sizes.head_size(), false);
      for (auto& scratch : scratch_) {
        arena.allocate(scratch.sums, rows, units);
        arena.allocate(scratch.hidden_output, rows,
                       blocks_.is_shared() ? sizes.hidden_size : std::min(KC, sizes.hidden_size));
        arena.allocate(scratch.unread_output, rows, units);
        scratch.operand_buffer.reserve(arena, blocks_.largest(),
                                       std::max(sizes.units, sizes.hidden_size));
        if (saved_) continue;
        if (sizes.has_narrow_embeddings())
          arena.allocate(scratch.embeddings, rows, sizes.embedding_size);
        arena.allocate(scratch.activations.qkv, rows, 3 * units);
        arena.allocate(scratch.activations.context, rows, units);
        arena.allocate(scratch.activations.attention_out, rows, units);
      }
    });
  }

  // One thread for each task. The first stage of a block is its embeddings, the others are layers.
  void run_tasks(int rank) {
    const Team team = Team::single_thread();
    Scratch& scratch = scratch_[rank];
    const int layers = context_.sizes.num_layers;
    blocks_.run(1 + layers, [&](int stage, Range block) {
      if (stage == 0)
        start_block(block, team, scratch);
      else
        compute_layer(stage - 1, block, team, scratch, attentions_[rank]);
    });
    if (context_.settings.selected)
      blocks_.run_parts(1 + layers, [&](Range sequences) {
        compute_selected_output(layers - 1, sequences, team, scratch);
      });
  }

  // All threads for each product.
  void run_together(const Team& team) {
    const int layers = context_.sizes.num_layers;
    Scratch& scratch = scratch_[0];
    for (const Range& block : blocks_.all()) start_block(block, team, scratch);
    for (int layer = 0; layer < layers; ++layer)
      for (const Range& block : blocks_.all())
        compute_layer(layer, block, team, scratch, attentions_[team.rank]);
    if (context_.settings.selected)
      compute_selected_output(layers - 1, {0, context_.tokens.sequences()}, team, scratch);
  }

  void start_block(Range block, const Team& team, Scratch& scratch) const {
    clear_padding(block, team);
    embed(context_.tokens.of(block), team, scratch);
    team.barrier();
  }

  // A selective layer without the part that `compute_selected_output` computes.
  void compute_layer(int layer, Range block, const Team& team, Scratch& scratch,
                     Attention<T>& attention) const {
    compute_context(layer, block, team, scratch, attention);
    team.barrier();
    if (!context_.settings.is_selective(layer))
      compute_output(layer, context_.tokens.of(block), team, scratch);
  }

  // The activations of one layer from a token on; row: the one that belongs to it.
  LayerActivations<T> activations_from(int layer, int token, int row,
                                       const Scratch& scratch) const {
    return saved_ ? saved_activations_from(layer, token, row, scratch)
                  : scratch_activations_from(layer, token, row, scratch);
  }
  LayerActivations<T> saved_activations_from(int layer, int token, int row,
                                             const Scratch& scratch) const {
    LayerActivations<T> activations = saved_->layers[layer].from(token, row);
    if (!activations.output) activations.output = scratch.unread_output;
    return activations;
  }
  // A layer overwrites its input with its output, a selective one leaves it alone.
  LayerActivations<T> scratch_activations_from(int layer, int token, int row,
                                               const Scratch& scratch) const {
    LayerActivations<T> activations = scratch.activations;
    activations.input = states_.from_row(token);
    if (context_.settings.is_selective(layer)) {
      activations.query_input = selected_.query_input.from_row(row);
      activations.query = selected_.query.from_row(row);
      activations.context = selected_.context.from_row(row);
      activations.attention_out = selected_.attention_out.from_row(row);
      activations.output = selected_.output.from_row(row);
    } else {
      activations.query_input = activations.output = activations.input;
      activations.query = activations.qkv;
    }
    return activations;
  }

  // Writes LANES numbers of a hidden state to the output, or adds them, for each `Output` of it.
  // row: of the layer that computes the state.
  void write_output(int state, int row, int column, Vector x) const {
    for (const Output& output : context_.settings.outputs) {
      if (output.state != state) continue;
      const int index = context_.settings.selected ? row : context_.tokens.padded_indices[row];
      float* target = output_.at(index, output.column + column);
      const Vector scaled = x * spread(output.scale);
      store(target, output.accumulate ? scaled + load(target) : scaled);
    }
  }

  void clear_padding(Range sequences, const Team& team) const {
    if (context_.settings.selected) return;
    const Batch& batch = context_.batch;
    const Range share = team.share(sequences.size());
    for (int row = sequences.begin + share.begin; row < sequences.begin + share.end; ++row) {
      const size_t start = static_cast<size_t>(row) * batch.length;
      std::fill(output_.row(start + batch.lengths[row]), output_.row(start + batch.length), 0.f);
    }
  }

  // The input of the first layer: the embeddings, with a dense layer after narrow ones.
  void embed(Range tokens, const Team& team, Scratch& scratch) const {
    const MatrixView<T> states =
        (saved_ ? saved_->layers[0].input : states_).from_row(tokens.begin);
    if (!context_.sizes.has_narrow_embeddings()) {
      sum_embeddings(tokens, team, scratch.sums, states,
                     [&](int row, int i, Vector x) { write_output(0, tokens.begin + row, i, x); });
      return;
    }
    const MatrixView<T> embeddings =
        saved_ ? saved_->embeddings.from_row(tokens.begin) : scratch.embeddings;
    sum_embeddings(tokens, team, scratch.sums, embeddings, [](int, int, Vector) {});
    team.barrier();
    const int matrix = embedding_projection(context_.sizes), width = context_.sizes.embedding_size;
    const float* bias = context_.parameter(matrix + 1);
    const auto operand = weights_.prepare_operand(matrix, embeddings, tokens.size(), width, team,
                                                  scratch.operand_buffer);
    weights_.multiply(
        operand, tokens.size(), matrix, share_columns(team, context_.sizes.units), {0, width},
        [&](int column) {
          return [=, shift = load(bias + column)](int row, Vector sum) {
            sum = sum + shift;
            store(states.at(row, column), sum);
            write_output(0, tokens.begin + row, column, sum);
          };
        },
        after(matrix, team));
  }

  // Sum of the three embeddings, layer normalisation, dropout: into (tokens, embedding_size)
  // embeddings, and handed to `epilogue(row, column, LANES numbers)`.
  template <class Epilogue>
  void sum_embeddings(Range tokens, const Team& team, MatrixView<float> sums,
                      MatrixView<T> embeddings, Epilogue epilogue) const {
    const int width = context_.sizes.embedding_size;
    const Batch& batch = context_.batch;
    const MatrixView<const float> words = context_.embedding(WORDS);
    const MatrixView<const float> types = context_.embedding(TYPES);
    const MatrixView<const float> positions = context_.embedding(POSITIONS);
    const float* gamma = context_.parameter(EMBEDDING_GAMMA);
    const float* beta = context_.parameter(EMBEDDING_BETA);
    const Range share = team.share(tokens.size());
    for (int row = share.begin; row < share.end; ++row) {
      const int token = tokens.begin + row, index = context_.tokens.padded_indices[token];
      const float* word = words.row(batch.tokens[index]);
      const float* type = types.row(batch.segments[index]);
      const float* position = positions.row(index % batch.length);
      float* sum = sums.row(row);
      for (int i = 0; i < width; i += LANES)
        store(sum + i, load(word + i) + load(type + i) + load(position + i));
      T* normals = saved_ ? saved_->embedding_normal.row(token) : nullptr;
      const float inverse_std =
          normalize(sum, width, context_.settings.epsilon, [&](int i, Vector normal) {
            if (normals) store(normals + i, normal);
            Vector x = scale_and_shift(normal, gamma, beta, i);
            x = dropout_.apply(x, dropout_site(0, DROP_EMBEDDING), token, i);
            store(embeddings.at(row, i), x);
            epilogue(row, i, x);
          });
      if (saved_) saved_->embedding_inverse_std[token] = inverse_std;
    }
  }

  // The first half of a layer, of a block: queries, keys and values, and the context that attention
  // makes of them.
  void compute_context(int layer, Range block, const Team& team, Scratch& scratch,
                       Attention<T>& attention) const {
    const Range tokens = context_.tokens.of(block), rows = context_.rows_of(layer, block);
    const bool is_selective = context_.settings.is_selective(layer);
    const LayerActivations<T> activations =
        activations_from(layer, tokens.begin, rows.begin, scratch);
    project_qkv(layer, tokens, is_selective ? 1 : 0, activations, team, scratch);
    if (is_selective) project_selected_queries(layer, tokens, rows, activations, team, scratch);
    team.barrier();
    const int heads = context_.sizes.num_heads, head_size = context_.sizes.head_size();
    const Range share = team.share(block.size() * heads);
    for (int task = share.begin; task < share.end; ++task) {
      const int sequence = block.begin + task / heads, head = task % heads;
      const int token = context_.tokens.starts[sequence] - tokens.begin;
      const int row = context_.rows_of(layer, {sequence, sequence + 1}).begin - rows.begin;
      attention.forward(head_of(activations, context_, layer, sequence, head, token, row, dropout_),
                        activations.context.from_row(row).from_column(head * head_size));
    }
  }

  // The second half of a layer, from the context on, of these rows.
  void compute_output(int layer, Range rows, const Team& team, Scratch& scratch) const {
    const LayerActivations<T> activations =
        activations_from(layer, context_.token_of_row(layer, rows.begin), rows.begin, scratch);
    project_context(layer, rows, activations, team, scratch);
    team.barrier();
    feed_forward(layer, rows, activations, team, scratch);
    team.barrier();
  }

  // The same for the selected tokens of neighbouring sequences: that reads the weights less often
  // than block by block.
  void compute_selected_output(int layer, Range sequences, const Team& team,
                               Scratch& scratch) const {
    for_each_part(context_.rows_of(layer, sequences),
                  [&](Range rows) { compute_output(layer, rows, team, scratch); });
  }

  // Calls `compute(part)` for as many rows at a time as scratch has.
  template <class Compute>
  void for_each_part(Range rows, Compute compute) const {
    for (int first = rows.begin; first < rows.end; first += blocks_.largest())
      compute(Range{first, std::min(rows.end, first + blocks_.largest())});
  }

  // Queries, keys and values, from the first-th of these on.
  void project_qkv(int layer, Range tokens, int first, const LayerActivations<T>& activations,
                   const Team& team, Scratch& scratch) const {
    const int units = context_.sizes.units;
    const auto operand =
        weights_.prepare_operand(index_of(layer, KEY), activations.input, tokens.size(), units,
                                 team, scratch.operand_buffer);
    for (int i = first; i < 3; ++i)
      project(layer, i, operand, tokens.size(), activations.qkv.from_column(i * units), team);
  }

  // The queries of the selected tokens alone, of a copy of their input. tokens, rows: of a block.
  void project_selected_queries(int layer, Range tokens, Range rows,
                                const LayerActivations<T>& activations, const Team& team,
                                Scratch& scratch) const {
    const int units = context_.sizes.units;
    for_each_part({0, rows.size()}, [&](Range part) {
      const MatrixView<T> inputs = activations.query_input.from_row(part.begin);
      const Range share = team.share(part.size());
      for (int row = share.begin; row < share.end; ++row) {
        const int token = context_.token_of_row(layer, rows.begin + part.begin + row);
        std::copy_n(activations.input.row(token - tokens.begin), units, inputs.row(row));
      }
      team.barrier();
      const auto operand = weights_.prepare_operand(index_of(layer, QUERY), inputs, part.size(),
                                                    units, team, scratch.operand_buffer);
      project(layer, 0, operand, part.size(), activations.query.from_row(part.begin), team);
    });
  }

  // The i-th of queries, keys and values: into (rows, units) target. The queries get the factor
  // that `Head` expects.
  template <class Operand>
  void project(int layer, int i, const Operand& operand, int rows, MatrixView<T> target,
               const Team& team) const {
    const int units = context_.sizes.units;
    const int matrix = index_of(layer, QKV[i]);
    const float* bias = context_.parameter(matrix + 1);
    const float scale = LOG2_E / std::sqrt(static_cast<float>(context_.sizes.head_size()));
    const Vector factor = spread(i ? 1 : scale);
    weights_.multiply(
        operand, rows, matrix, share_columns(team, units), {0, units},
        [&](int column) {
          return [=, shift = load(bias + column)](int row, Vector sum) {
            store(target.at(row, column), (sum + shift) * factor);
          };
        },
        after(matrix, team));
  }

  // Dropout of LANES numbers of a row.
  Vector drop(Vector x, int layer, DropoutKind kind, int row, int column) const {
    if (dropout_.is_off()) return x;
    return dropout_.apply(x, dropout_site(layer, kind), context_.token_of_row(layer, row), column);
  }

  // Output projection of the attention, dropout, residual; layer normalisation.
  void project_context(int layer, Range rows, const LayerActivations<T>& activations,
                       const Team& team, Scratch& scratch) const {
    const int units = context_.sizes.units;
    const float* bias = context_.parameter(index_of(layer, PROJECTION_BIAS));
    const int matrix = index_of(layer, PROJECTION);
    const MatrixView<float> sums = scratch.sums;
    const MatrixView<const T> residual = activations.query_input;
    const auto operand = weights_.prepare_operand(matrix, activations.context, rows.size(), units,
                                                  team, scratch.operand_buffer);
    weights_.multiply(
        operand, rows.size(), matrix, share_columns(team, units), {0, units},
        [&](int column) {
          return [=, shift = load(bias + column)](int row, Vector sum) {
            sum = drop(sum + shift, layer, DROP_PROJECTION, rows.begin + row, column);
            store(sums.at(row, column), sum + load(residual.at(row, column)));
          };
        },
        after(matrix, team));
    team.barrier();
    const MatrixView<T> output = activations.attention_out;
    normalize_rows(rows.size(), team, sums, index_of(layer, ATTENTION_GAMMA),
                   activations.attention_normal, activations.attention_inverse_std,
                   [=](int row, int column, Vector x) { store(output.at(row, column), x); });
  }

  // Two dense layers around the activation, dropout, residual; layer normalisation. A thread that
  // is a team of its own computes KC columns of the hidden layer at a time, which stay in its
  // cache.
  void feed_forward(int layer, Range rows, const LayerActivations<T>& activations, const Team& team,
                    Scratch& scratch) const {
    const int units = context_.sizes.units, hidden_size = context_.sizes.hidden_size;
    const int step = blocks_.is_shared() ? hidden_size : std::min(KC, hidden_size);
    const int matrix = index_of(layer, OUT);
    const float* out_bias = context_.parameter(index_of(layer, OUT_BIAS));
    const MatrixView<float> sums = scratch.sums;
    const MatrixView<const T> residual = activations.attention_out;
    for (int start = 0; start < hidden_size; start += step) {
      const int end = std::min(hidden_size, start + step);
      compute_hidden(layer, rows.size(), {start, end}, activations, team, scratch);
      team.barrier();
      const auto operand = weights_.prepare_operand(matrix, scratch.hidden_output, rows.size(),
                                                    end - start, team, scratch.operand_buffer);
      weights_.multiply(
          operand, rows.size(), matrix, share_columns(team, units), {start, end},
          [&](int column) {
            return [=, shift = load(out_bias + column)](int row, Vector sum) {
              float* target = sums.at(row, column);
              sum = sum + (start ? load(target) : shift);
              if (end == hidden_size)
                sum = drop(sum, layer, DROP_OUT, rows.begin + row, column) +
                      load(residual.at(row, column));
              store(target, sum);
            };
          },
          after(matrix, team));
    }
    team.barrier();
    const MatrixView<T> output = activations.output;
    const bool is_read = context_.settings.has_output_of(layer + 1);
    normalize_rows(rows.size(), team, sums, index_of(layer, OUT_GAMMA), activations.out_normal,
                   activations.out_inverse_std, [=](int row, int column, Vector x) {
                     store(output.at(row, column), x);
                     if (is_read) write_output(layer + 1, rows.begin + row, column, x);
                   });
  }

  // The first of the two dense layers and its activation: these columns of the hidden layer. A team
  // of several threads is given all of them, and each of its threads computes a share.
  void compute_hidden(int layer, int rows, Range columns, const LayerActivations<T>& activations,
                      const Team& team, Scratch& scratch) const {
    const int units = context_.sizes.units, matrix = index_of(layer, HIDDEN);
    const float* bias = context_.parameter(matrix + 1);
    const MatrixView<T> outputs = scratch.hidden_output;
    const Range share = blocks_.is_shared() ? share_columns(team, columns.end) : columns;
    const auto operand = weights_.prepare_operand(matrix, activations.attention_out, rows, units,
                                                  team, scratch.operand_buffer);
    with_activation<T>(context_.settings.activation, [&](auto activation) {
      weights_.multiply(
          operand, rows, matrix, share, {0, units},
          [&](int column) {
            return
                [=, hidden = activations.hidden, shift = load(bias + column)](int row, Vector sum) {
                  sum = sum + shift;
                  if (hidden) store(hidden.at(row, column), sum);
                  store(outputs.at(row, column - columns.begin), activation.value(sum));
                };
          },
          after(matrix, team));
    });
  }

  // What this thread multiplies by after the matrix of an index. Threads that share each product
  // wait for memory when the next one begins; blocks are longer.
  Ahead after(int index, const Team& team) const {
    const int next = next_matrix(context_.sizes, index);
    if (!blocks_.is_shared() || next < 0) return {};
    const Range columns = share_columns(team, shape_of(context_.sizes, next).first);
    return columns.size() ? weights_.ahead(next, columns.begin) : Ahead();
  }

  // Layer normalisation of sums, handed to `epilogue(row, column, LANES numbers)`. gamma: the index
  // of that parameter; beta is the next one.
  template <class Epilogue>
  void normalize_rows(int rows, const Team& team, MatrixView<const float> sums, int gamma,
                      MatrixView<T> normals, float* inverse_stds, Epilogue epilogue) const {
    const int units = context_.sizes.units;
    const float* gammas = context_.parameter(gamma);
    const float* betas = context_.parameter(gamma + 1);
    const Range share = team.share(rows);
    for (int row = share.begin; row < share.end; ++row) {
      T* normal = normals ? normals.row(row) : nullptr;
      const float inverse_std =
          normalize(sums.row(row), units, context_.settings.epsilon, [=](int i, Vector x) {
            if (normal) store(normal + i, x);
            epilogue(row, i, scale_and_shift(x, gammas, betas, i));
          });
      if (inverse_stds) inverse_stds[row] = inverse_std;
    }
  }

  const PassContext& context_;
  const Weights& weights_;
  TypedSavedActivations<T>* saved_;
  MatrixView<float> output_;  // (batch · length, or batch; output_width)
  Dropout dropout_;
  Blocks blocks_;
  MatrixView<T> states_;                  // (tokens, units) where nothing is saved
  LayerActivations<T> selected_;          // of a selective layer, there
  std::vector<Scratch> scratch_;          // for each team
  std::vector<Attention<T>> attentions_;  // for each thread
  Arena arena_;
};

}  // namespace bert
