// The backward pass: gradients of all parameters, layer after layer from the last. What belongs to
// a row (`LayerValues`) is computed by the thread that owns it; weights are summed over all rows by
// columns.
#pragma once

#include "forward.h"

namespace bert {

template <class T>
class BackwardPass {
 public:
  BackwardPass(const Settings& settings, const Batch& batch, const Tokens& tokens,
               const std::vector<Parameter>& parameters, const PackedWeights<T>& weights,
               const SavedPass<T>& saved, const float* output_gradient,
               const std::vector<float*>& gradients, const std::vector<bool>& add)
      : settings_(settings), sizes_(settings.sizes), batch_(batch), tokens_(tokens),
        parameters_(parameters), weights_(weights), saved_(saved),
        output_gradient_(output_gradient), gradients_(gradients), add_(add) {
    reserve();
  }

  void run() {
#pragma omp parallel num_threads(settings_.threads)
    {
      const Team team = Team::of_region();
      const Range tokens = team.share(tokens_.count());
      Sums& sums = sums_[team.rank];
      start_gradient(team);
      for (int layer = sizes_.num_layers - 1; layer >= 0; --layer) {
        const Range rows = team.share(number_of_rows(layer));
        sums.clear(sizes_);
        backward_feed_forward(layer, rows, team, sums);
        backward_attention(layer, rows, tokens, team, sums);
        add_sums(layer, team);
        add_output_gradient(layer, tokens, gradient_);
      }
      backward_embedding(tokens, team, sums);
    }
  }

 private:
  // The weights of what `projected` holds, in its order.
  static constexpr LayerParameter PROJECTED[] = {QUERY, KEY, VALUE};

  // One thread's sums over its tokens: gradients of all vectors of a layer.
  struct Sums {
    float *bias[3], *projection_bias, *attention_gamma, *attention_beta;
    float *out_bias, *out_gamma, *out_beta, *hidden_bias;
    float* all;  // they stand one after the other, in this order:
    static constexpr int ORDER[] = {QUERY_BIAS,      KEY_BIAS,       VALUE_BIAS, PROJECTION_BIAS,
                                    ATTENTION_GAMMA, ATTENTION_BETA, OUT_BIAS,   OUT_GAMMA,
                                    OUT_BETA,        HIDDEN_BIAS};

    static size_t count(const Sizes& sizes) {
      return 9 * static_cast<size_t>(sizes.units) + sizes.hidden_size;
    }
    void part(const Sizes& sizes) {
      float* next = all;
      for (float** vector : {&bias[0], &bias[1], &bias[2], &projection_bias, &attention_gamma,
                             &attention_beta, &out_bias, &out_gamma, &out_beta, &hidden_bias}) {
        *vector = next;
        next += sizes.units;
      }
    }
    void clear(const Sizes& sizes) { std::memset(all, 0, count(sizes) * sizeof(float)); }
  };

  void reserve() {
    const size_t count = tokens_.count(), units = sizes_.units, hidden = sizes_.hidden_size;
    const size_t words = round_up(count, PER_WORD<T>) / PER_WORD<T>;
    const size_t most = std::max(3 * units, hidden);
    sums_.resize(settings_.threads);
    attentions_.resize(settings_.threads);
    arena_.arrange([&](Arena& arena) {
      arena.give(gradient_, count * units);
      if (settings_.first_only) {
        arena.give(first_gradient_, tokens_.sequences() * units);
        arena.give(first_query_, tokens_.sequences() * units);
      }
      arena.give(inner_, count * units);
      arena.give(hidden_, count * hidden);
      arena.give(context_, count * units);
      arena.give(projected_, 3 * count * units);
      arena.give(left_, (words + PackedLeft::PAD) * most);
      arena.give(right_, words * std::max(units, hidden));
      for (auto& sums : sums_) arena.give(sums.all, Sums::count(sizes_));
      for (auto& attention : attentions_)
        attention.reserve(arena, tokens_.longest, sizes_.head_size(), true);
    });
    for (auto& sums : sums_) sums.part(sizes_);
  }

  const float* parameter(int place) const { return parameters_[place].values; }
  size_t row_start(int row) const { return static_cast<size_t>(row) * sizes_.units; }

  // Calls `compute(rows)` for as many rows at a time as stay in the cache.
  template <class Compute>
  static void in_groups(Range rows, Compute compute) {
    for (int first = rows.begin; first < rows.end; first += GROUP_TOKENS<T>)
      compute(Range{first, std::min(rows.end, first + GROUP_TOKENS<T>)});
  }

  int number_of_rows(int layer) const {
    return settings_.is_of_firsts(layer) ? tokens_.sequences() : tokens_.count();
  }
  // The token that a row is of.
  int token_of(int layer, int row) const {
    return settings_.is_of_firsts(layer) ? tokens_.starts[row] : row;
  }
  // (rows, units) the gradient of what a layer gives.
  float* gradient_behind(int layer) const {
    return settings_.is_of_firsts(layer) ? first_gradient_ : gradient_;
  }

  // The gradient of what the last layer gives.
  void start_gradient(const Team& team) {
    const int last = sizes_.num_layers - 1;
    const Range rows = team.share(number_of_rows(last));
    float* gradient = gradient_behind(last);
    std::fill_n(gradient + row_start(rows.begin), row_start(rows.size()), 0.f);
    add_output_gradient(sizes_.num_layers, rows, gradient);
  }

  // Adds what the output asks of a hidden state to its gradient.
  void add_output_gradient(int state, Range rows, float* gradient) {
    for (const Output& one : settings_.outputs)
      for (int row = rows.begin; one.state == state && row < rows.end; ++row) {
        const size_t place = settings_.first_only ? row : tokens_.places[row];
        const float* outer = output_gradient_ + one.column + place * settings_.output_width;
        for (int i = 0; i < sizes_.units; i += LANES)
          add_to(gradient + row_start(row) + i, load(outer + i) * spread(one.scale));
      }
  }

  void backward_feed_forward(int layer, Range rows, const Team& team, Sums& sums) {
    const LayerValues<T>& values = saved_.layers[layer];
    in_groups(rows, [&](Range group) {
      normalize_group(layer, group, values.out_normal, values.out_inverse, OUT_GAMMA, DROP_OUT,
                      sums.out_gamma, sums.out_beta, sums.out_bias);
      multiply_hidden(layer, group, values, sums);
    });
    const int count = number_of_rows(layer);
    sum_weight(team, count, read(inner_, sizes_.units), sizes_.units,
               [&](int row, int column) {
                 return gelu<T>(load(values.hidden + hidden_start(row) + column));
               },
               sizes_.hidden_size, {place_of(layer, OUT)});
    sum_weight(team, count, read(hidden_, sizes_.hidden_size), sizes_.hidden_size,
               read(values.attended, sizes_.units), sizes_.units, {place_of(layer, HIDDEN)});
  }

  // Layer normalisation and dropout, backward: the gradient is that of the residual's sum then,
  // inner_ that of what the dropout got.
  void normalize_group(int layer, Range group, const T* normals, const float* inverses,
                       LayerParameter gamma, DropoutKind kind, float* gamma_sum, float* beta_sum,
                       float* bias_sum) {
    const uint64_t place = dropout_place(layer, kind);
    for (int row = group.begin; row < group.end; ++row) {
      float* gradient = gradient_behind(layer) + row_start(row);
      normalize_backward(gradient, sizes_.units, normals + row_start(row), inverses[row],
                         parameter(place_of(layer, gamma)), gamma_sum, beta_sum);
      const int token = token_of(layer, row);
      for (int i = 0; i < sizes_.units; i += LANES) {
        const Vector x = saved_.dropout.apply(load(gradient + i), place, token, i);
        store(inner_ + row_start(row) + i, x);
        add_to(bias_sum + i, x);
      }
    }
  }

  // From inner_ to hidden_, the gradient before the activation, and on to that of what came in.
  void multiply_hidden(int layer, Range group, const LayerValues<T>& values, Sums& sums) {
    multiply<T>(
        rows_of(inner_ + row_start(group.begin), sizes_.units), group.size(), weights_(layer, OUT),
        [&](int row, int column, Vector sum) {
          const size_t place = hidden_start(group.begin + row) + column;
          sum = sum * gelu_slope<T>(load(values.hidden + place));
          store(hidden_ + place, sum);
          add_to(sums.hidden_bias + column, sum);
        },
        [&](Range tile_rows, Range columns) {  // far apart: the CPU doesn't see them coming
          for (int row = tile_rows.begin; row < tile_rows.end; ++row)
            prefetch_part(values.hidden + hidden_start(group.begin + row) + columns.begin,
                          columns.size() * sizeof(T), 0, 1);
        });
    add_product(hidden_ + hidden_start(group.begin), sizes_.hidden_size, group,
                weights_(layer, HIDDEN), gradient_behind(layer));
  }

  size_t hidden_start(int row) const { return static_cast<size_t>(row) * sizes_.hidden_size; }

  // gradient += values (rows, …) · weight
  void add_product(const T* values, size_t stride, Range group, const Packed& weight,
                   float* gradient) {
    constexpr int STEP = CHUNK / PER_WORD<T>;  // words of a sum at a time, as there
    for (int word = 0; word < weight.depth; word += STEP)
      multiply<T>(rows_of(values + static_cast<size_t>(word) * PER_WORD<T>, stride), group.size(),
                  weight, {0, weight.columns}, {word, std::min(weight.depth, word + STEP)},
                  [&](int row, int column, Vector sum) {
                    add_to(gradient + row_start(group.begin + row) + column, sum);
                  });
  }

  void backward_attention(int layer, Range rows, Range tokens, const Team& team, Sums& sums) {
    const LayerValues<T>& values = saved_.layers[layer];
    const int units = sizes_.units;
    in_groups(rows, [&](Range group) {
      normalize_group(layer, group, values.attended_normal, values.attended_inverse,
                      ATTENTION_GAMMA, DROP_PROJECTION, sums.attention_gamma, sums.attention_beta,
                      sums.projection_bias);
      multiply<T>(rows_of(inner_ + row_start(group.begin), units), group.size(),
                  weights_(layer, PROJECTION), [&](int row, int column, Vector sum) {
                    store(context_ + row_start(group.begin + row) + column, sum);
                  });
    });
    team.wait();
    attend_backward(layer, values, team);
    sum_weight(team, number_of_rows(layer), read(inner_, units), units, read(values.context, units),
               units, {place_of(layer, PROJECTION)});
    if (settings_.is_of_firsts(layer)) {
      in_groups(rows, [&](Range group) {
        backward_projection(layer, 0, group, first_query_ + row_start(group.begin), units,
                            first_gradient_, sums);
      });
      sum_weight(team, number_of_rows(layer), read(first_query_, units), units,
                 read(values.query_input, units), units, {place_of(layer, QUERY)});
      spread_first_gradient(tokens);
    }
    const int first = settings_.is_of_firsts(layer) ? 1 : 0;
    in_groups(tokens, [&](Range group) {
      for (int i = first; i < 3; ++i)
        backward_projection(layer, i, group, projected_ + 3 * row_start(group.begin) + i * units,
                            3 * units, gradient_, sums);
    });
    std::vector<int> places;
    for (int i = first; i < 3; ++i) places.push_back(place_of(layer, PROJECTED[i]));
    sum_weight(team, tokens_.count(), read(projected_ + first * units, 3 * units),
               (3 - first) * units, read(values.input, units), units, places);
  }

  // From the gradient of queries, keys or values, the i-th of them, to that of what they are of.
  void backward_projection(int layer, int i, Range group, const T* projected, size_t stride,
                           float* gradient, Sums& sums) {
    add_product(projected, stride, group, weights_(layer, PROJECTED[i]), gradient);
    for (int row = 0; row < group.size(); ++row)
      for (int j = 0; j < sizes_.units; j += LANES)
        add_to(sums.bias[i] + j, load(projected + row * stride + j));
  }

  // The gradient of first tokens goes on as that of all `tokens`; of the others it is zero so far.
  void spread_first_gradient(Range tokens) {
    std::fill_n(gradient_ + row_start(tokens.begin), row_start(tokens.size()), 0.f);
    for (int sequence = 0; sequence < tokens_.sequences(); ++sequence) {
      const int token = tokens_.starts[sequence];
      if (token >= tokens.begin && token < tokens.end)
        std::copy_n(first_gradient_ + row_start(sequence), sizes_.units,
                    gradient_ + row_start(token));
    }
  }

  void attend_backward(int layer, const LayerValues<T>& values, const Team& team) {
    const int heads = sizes_.num_heads, units = sizes_.units;
    const bool is_of_firsts = settings_.is_of_firsts(layer);
    const Range mine = team.share(tokens_.sequences() * heads);
    for (int task = mine.begin; task < mine.end; ++task) {
      const int sequence = task / heads, first = tokens_.starts[sequence];
      const size_t column = task % heads * sizes_.head_size();
      const size_t place = row_start(is_of_firsts ? sequence : first) + column;
      T* gradient = projected_ + 3 * row_start(first) + column;
      attentions_[team.rank].backward(
          head_of(values, settings_, tokens_, layer, sequence, task % heads, first, saved_.dropout),
          values.context + place, context_ + place, units,
          is_of_firsts ? first_query_ + place : gradient, gradient + units, gradient + 2 * units);
    }
  }

  // LANES numbers of a row of (rows, width).
  static auto read(const T* values, size_t width) {
    return [=](int row, int column) { return load(values + row * width + column); };
  }

  // Gradients of weights, one below the other: outᵀ · in, over `count` rows. out (rows,
  // out_width): gradients behind the dense layers; in (rows, in_width): what they got.
  template <class ReadOut, class ReadIn>
  void sum_weight(const Team& team, int count, ReadOut out, int out_width, ReadIn in, int in_width,
                  const std::vector<int>& places) {
    const int words = (count + PER_WORD<T> - 1) / PER_WORD<T>;
    PackedLeft left = {left_, words, out_width};
    Packed right = {right_, words, in_width};
    team.wait();  // all rows are there, and nobody reads left_ and right_ any more
    const Range mine = team.share(words);
    pack_left<T>(out, count, mine, left);
    pack<T>(in, count, {0, in_width}, mine, right);
    team.wait();
    const int height = out_width / static_cast<int>(places.size());
    int row = 0;
    for (int place : places) {
      multiply_left<T>(left, {row, row + height}, right, share_columns(team, in_width), add_[place],
                       gradients_[place], in_width);
      row += height;
    }
  }

  // Gradients of a layer's vectors: the sums of all threads.
  void add_sums(int layer, const Team& team) {
    team.wait();
    int start = 0;
    for (int place : Sums::ORDER) {
      const int width = place == HIDDEN_BIAS ? sizes_.hidden_size : sizes_.units;
      const Range mine = team.share(width, LANES);
      for (int i = mine.begin; i < mine.end; i += LANES)
        finish(place_of(layer, place), i, team,
               [&](const Sums& sums) { return sums.all + start + i; });
      start += width;
    }
    team.wait();
  }

  // LANES numbers of a gradient from `column` on: the sum of what `find(sums)` points to, over the
  // team, which may have fewer members than were asked for.
  template <class Find>
  void finish(int place, int column, const Team& team, Find find) {
    Vector sum = add_[place] ? load(gradients_[place] + column) : spread(0);
    for (int rank = 0; rank < team.size; ++rank) sum = sum + load(find(sums_[rank]));
    store(gradients_[place] + column, sum);
  }

  // Dropout, layer normalisation and the three embeddings, backward.
  void backward_embedding(Range rows, const Team& team, Sums& sums) {
    sums.clear(sizes_);
    for (int row = rows.begin; row < rows.end; ++row) {
      float* gradient = gradient_ + row_start(row);
      for (int i = 0; i < sizes_.units; i += LANES)
        store(gradient + i,
              saved_.dropout.apply(load(gradient + i), dropout_place(0, DROP_EMBEDDING), row, i));
      normalize_backward(gradient, sizes_.units, saved_.embedding_normal + row_start(row),
                         saved_.embedding_inverse[row], parameter(EMBEDDING_GAMMA), sums.out_gamma,
                         sums.out_beta);
    }
    for (int place : {WORDS, TYPES, POSITIONS}) clear_gradient(place, team);
    team.wait();
    const Range mine = team.share(sizes_.units, LANES);
    for (int i = mine.begin; i < mine.end; i += LANES) {
      finish(EMBEDDING_GAMMA, i, team, [&](const Sums& one) { return one.out_gamma + i; });
      finish(EMBEDDING_BETA, i, team, [&](const Sums& one) { return one.out_beta + i; });
    }
    // All threads go through all tokens, each for its columns: no row is written by two of them.
    for (int row = 0; row < tokens_.count(); ++row) {
      const int place = tokens_.places[row];
      const float* gradient = gradient_ + row_start(row);
      float* words = gradients_[WORDS] + row_start(batch_.tokens[place]);
      float* types = gradients_[TYPES] + row_start(batch_.segments[place]);
      float* positions = gradients_[POSITIONS] + row_start(place % batch_.length);
      for (int i = mine.begin; i < mine.end; i += LANES) {
        const Vector x = load(gradient + i);
        add_to(words + i, x);
        add_to(types + i, x);
        add_to(positions + i, x);
      }
    }
  }

  void clear_gradient(int place, const Team& team) {
    if (add_[place]) return;
    const Range mine = team.share(shape_of(sizes_, place).first);
    std::memset(gradients_[place] + row_start(mine.begin), 0,
                row_start(mine.size()) * sizeof(float));
  }

  const Settings& settings_;
  const Sizes& sizes_;
  const Batch& batch_;
  const Tokens& tokens_;
  const std::vector<Parameter>& parameters_;
  const PackedWeights<T>& weights_;
  const SavedPass<T>& saved_;
  const float* output_gradient_;
  const std::vector<float*>& gradients_;
  const std::vector<bool>& add_;
  float* gradient_;        // (tokens, units) of the state that is reached
  float* first_gradient_;  // (sequences, units) the same in a layer of firsts
  // Gradients before the dense layers and behind them, (rows, …), but `projected_` of all tokens:
  T *inner_, *hidden_, *context_, *projected_;
  T* first_query_;       // (sequences, units) gradient of queries in a layer of firsts
  Word *left_, *right_;  // operands of `sum_weight`
  std::vector<Sums> sums_;
  std::vector<Attention<T>> attentions_;
  Arena arena_;
};

}  // namespace bert
