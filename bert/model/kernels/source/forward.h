// The forward pass: each thread computes whole sequences, a few hundred tokens at a time, through
// all of a layer; where there are too few sequences for that, all threads share each product.
#pragma once

#include "layer_activations.h"
#include "weights.h"

namespace bert {

// Weights: how products are computed, `PackedWeights<T>` or `QuantizedWeights`.
template <class T, class Weights>
class ForwardPass {
 public:
  ForwardPass(const Settings& settings, const Batch& batch, const Tokens& tokens,
              const std::vector<Parameter>& parameters, const Weights& weights, SavedPass<T>* saved,
              float* output)
      : settings_(settings), sizes_(settings.sizes), batch_(batch), tokens_(tokens),
        parameters_(parameters), weights_(weights), saved_(saved), output_(output) {
    if (saved) dropout_ = saved->dropout;
    plan();
    reserve();
  }

  void run() {
#pragma omp parallel num_threads(settings_.threads)
    {
      const Team all = Team::of_region();
      if (together_)
        run_part(0, all, attentions_[all.rank]);
      else
        for (int part = all.rank; part < static_cast<int>(parts_.size()); part += all.size)
          run_part(part, Team::alone(), attentions_[all.rank]);
    }
  }

 private:
  // How much more than its share of the tokens a thread may have before all share all of them.
  static constexpr double UNEVEN = 1.3;

  // What is thrown away after a group. (rows, …)
  struct Scratch {
    float* sums;   // units
    T* activated;  // hidden_size, or CHUNK of it
    LayerValues<T> values;
    T* last;                      // units: what the last layer gives, where nobody reads it
    typename Weights::Room room;  // for the left operand of the product that is computed
  };

  // Sequences → parts_ of about as many tokens, one for a thread, and those into groups.
  void plan() {
    std::vector<std::vector<Range>> parts;
    int first = 0, most = 0;
    for (int rank = 0; rank < settings_.threads; ++rank) {
      const long wanted = static_cast<long>(tokens_.count()) * (rank + 1) / settings_.threads;
      int end = first;
      while (end < tokens_.sequences() && tokens_.starts[end] + tokens_.length(end) / 2 < wanted)
        ++end;
      if (rank == settings_.threads - 1) end = tokens_.sequences();
      if (end == first) continue;
      most = std::max(most, tokens_.starts[end] - tokens_.starts[first]);
      parts.push_back(groups({first, end}));
      first = end;
    }
    together_ = settings_.threads > 1 && most > UNEVEN * tokens_.count() / settings_.threads;
    parts_ = together_ ? std::vector<std::vector<Range>>{groups({0, tokens_.sequences()})} : parts;
    for (const auto& part : parts_)
      for (const Range& group : part)
        most_rows_ = std::max(most_rows_, rows_of_group(group).size());
  }

  // Neighbouring sequences of at most GROUP_TOKENS tokens, and of about as many each.
  std::vector<Range> groups(Range sequences) const {
    const int tokens = tokens_.starts[sequences.end] - tokens_.starts[sequences.begin];
    const int number = std::max(1, (tokens + GROUP_TOKENS<T> / 2) / GROUP_TOKENS<T>);
    std::vector<Range> found;
    int first = sequences.begin;
    for (int i = 0; i < number && first < sequences.end; ++i) {
      const long wanted =
          tokens_.starts[sequences.begin] + static_cast<long>(tokens) * (i + 1) / number;
      int end = first + 1;
      while (end < sequences.end && tokens_.starts[end] + tokens_.length(end) / 2 < wanted) ++end;
      if (i == number - 1) end = sequences.end;
      found.push_back({first, end});
      first = end;
    }
    return found;
  }

  Range rows_of_group(Range group) const {
    return {tokens_.starts[group.begin], tokens_.starts[group.end]};
  }

  void reserve() {
    const size_t rows = most_rows_, units = sizes_.units;
    scratch_.resize(parts_.size());
    attentions_.resize(settings_.threads);
    arena_.arrange([&](Arena& arena) {
      if (!saved_) arena.give(states_, tokens_.count() * units);
      if (!saved_ && settings_.first_only)
        for (T** values :
             {&firsts_.query_input, &firsts_.context, &firsts_.attended, &firsts_.output})
          arena.give(*values, tokens_.sequences() * units);
      for (auto& attention : attentions_)
        attention.reserve(arena, tokens_.longest, sizes_.head_size(), false);
      for (auto& scratch : scratch_) {
        arena.give(scratch.sums, rows * units);
        arena.give(scratch.activated,
                   rows * (together_ ? sizes_.hidden_size : std::min(CHUNK, sizes_.hidden_size)));
        arena.give(scratch.last, rows * units);
        scratch.room.reserve(arena, most_rows_, std::max(sizes_.units, sizes_.hidden_size));
        if (saved_) continue;
        arena.give(scratch.values.projected, 3 * rows * units);
        arena.give(scratch.values.context, rows * units);
        arena.give(scratch.values.attended, rows * units);
      }
    });
  }

  void run_part(int part, const Team& team, Attention<T>& attention) {
    Scratch& scratch = scratch_[part];
    clear_padding(parts_[part], team);
    for (const Range& group : parts_[part]) {
      embed(rows_of_group(group), team, scratch);
      team.wait();
    }
    for (int layer = 0; layer < sizes_.num_layers; ++layer) {
      for (const Range& group : parts_[part]) {
        attend(layer, group, team, scratch, attention);
        team.wait();
        if (!settings_.is_of_firsts(layer)) go_on(layer, rows_of_group(group), team, scratch);
      }
      if (settings_.is_of_firsts(layer)) go_on_with_firsts(layer, parts_[part], team, scratch);
    }
  }

  const float* parameter(int place) const { return parameters_[place].values; }

  // The token that a row of a layer is of.
  int token_of(int layer, int row) const {
    return settings_.is_of_firsts(layer) ? tokens_.starts[row] : row;
  }

  // The values of one layer for tokens and rows from these on.
  LayerValues<T> values_of(int layer, int token, int row, const Scratch& scratch) const {
    if (saved_) {
      LayerValues<T> values = saved_->layers[layer].from(token, row, sizes_);
      if (!values.output) values.output = scratch.last;
      return values;
    }
    T* input = states_ + static_cast<size_t>(token) * sizes_.units;
    LayerValues<T> values = scratch.values;
    values.query_input = values.output = input;
    if (settings_.is_of_firsts(layer)) values = firsts_.from(token, row, sizes_);
    values.input = input;
    values.projected = scratch.values.projected;
    return values;
  }

  // Adds LANES numbers of a hidden state to the output, where they are asked for.
  void emit(int state, int token, int column, Vector x) const {
    for (const Output& one : settings_.outputs) {
      if (one.state != state) continue;
      const int place_of_token = tokens_.places[token];
      const size_t row = settings_.first_only ? place_of_token / batch_.length : place_of_token;
      float* place = output_ + row * settings_.output_width + one.column + column;
      const Vector scaled = x * spread(one.scale);
      store(place, one.add ? scaled + load(place) : scaled);
    }
  }

  void clear_padding(const std::vector<Range>& part, const Team& team) const {
    if (settings_.first_only) return;
    const Range all = {part.front().begin, part.back().end}, mine = team.share(all.size());
    const size_t width = settings_.output_width;
    for (int row = all.begin + mine.begin; row < all.begin + mine.end; ++row) {
      const size_t end = static_cast<size_t>(row + 1) * batch_.length;
      const size_t padding = batch_.length - batch_.lengths[row];
      std::memset(output_ + (end - padding) * width, 0, padding * width * sizeof(float));
    }
  }

  // Sum of the three embeddings, layer normalisation, dropout.
  void embed(Range rows, const Team& team, Scratch& scratch) const {
    const int units = sizes_.units;
    const Range mine = team.share(rows.size());
    T* states = saved_ ? saved_->layers[0].input : states_;
    for (int token = rows.begin + mine.begin; token < rows.begin + mine.end; ++token) {
      const int place = tokens_.places[token], position = place % batch_.length;
      const float* word = parameter(WORDS) + static_cast<size_t>(batch_.tokens[place]) * units;
      const float* type = parameter(TYPES) + static_cast<size_t>(batch_.segments[place]) * units;
      const float* at = parameter(POSITIONS) + static_cast<size_t>(position) * units;
      float* sum = scratch.sums + static_cast<size_t>(token - rows.begin) * units;
      for (int i = 0; i < units; i += LANES)
        store(sum + i, load(word + i) + load(type + i) + load(at + i));
      T* normals = saved_ ? saved_->embedding_normal + static_cast<size_t>(token) * units : nullptr;
      T* state = states + static_cast<size_t>(token) * units;
      const float inverse = normalize(sum, units, settings_.epsilon, [&](int i, Vector normal) {
        if (normals) store(normals + i, normal);
        Vector x =
            scale_and_shift(normal, parameter(EMBEDDING_GAMMA), parameter(EMBEDDING_BETA), i);
        x = dropout_.apply(x, dropout_place(0, DROP_EMBEDDING), token, i);
        store(state + i, x);
        emit(0, token, i, x);
      });
      if (saved_) saved_->embedding_inverse[token] = inverse;
    }
  }

  // A layer up to the context that its heads give.
  void attend(int layer, Range group, const Team& team, Scratch& scratch,
              Attention<T>& attention) const {
    const Range rows = rows_of_group(group);
    const bool is_of_firsts = settings_.is_of_firsts(layer);
    const LayerValues<T> values =
        values_of(layer, rows.begin, is_of_firsts ? group.begin : rows.begin, scratch);
    project(layer, rows, is_of_firsts ? 1 : 0, values, team, scratch);
    if (is_of_firsts) project_firsts(layer, group, values, team, scratch);
    team.wait();
    const int heads = sizes_.num_heads;
    const Range mine = team.share(group.size() * heads);
    for (int task = mine.begin; task < mine.end; ++task) {
      const int number = task / heads, sequence = group.begin + number, head = task % heads;
      const int first = tokens_.starts[sequence] - rows.begin;
      const size_t row = is_of_firsts ? number : first;
      attention.forward(head_of(values, settings_, tokens_, layer, sequence, head, first, dropout_),
                        values.context + row * sizes_.units + head * sizes_.head_size(),
                        sizes_.units);
    }
  }

  // A layer from that context on, of these rows.
  void go_on(int layer, Range rows, const Team& team, Scratch& scratch) const {
    const LayerValues<T> values =
        values_of(layer, token_of(layer, rows.begin), rows.begin, scratch);
    add_attention(layer, rows, values, team, scratch);
    team.wait();
    feed_forward(layer, rows, values, team, scratch);
    team.wait();
  }

  // The same of a part's sequences, as many at a time as there is room for: together they need the
  // weights less often than group by group.
  void go_on_with_firsts(int layer, const std::vector<Range>& part, const Team& team,
                         Scratch& scratch) const {
    const int end = part.back().end;
    for (int first = part.front().begin; first < end; first += most_rows_)
      go_on(layer, {first, std::min(end, first + most_rows_)}, team, scratch);
  }

  // Queries, keys and values, from the first-th of these on.
  void project(int layer, Range rows, int first, const LayerValues<T>& values, const Team& team,
               Scratch& scratch) const {
    const auto input = weights_.take(layer, KEY, values.input, sizes_.units, rows.size(),
                                     sizes_.units, team, scratch.room);
    for (int i = first; i < 3; ++i)
      project_one(layer, i, input, rows.size(), values, team, [](int row) { return row; });
  }

  // The queries of first tokens alone, out of a copy of their input.
  void project_firsts(int layer, Range group, const LayerValues<T>& values, const Team& team,
                      Scratch& scratch) const {
    const int units = sizes_.units, start = tokens_.starts[group.begin];
    auto token_of_row = [&](int row) { return tokens_.starts[group.begin + row] - start; };
    const Range mine = team.share(group.size());
    for (int row = mine.begin; row < mine.end; ++row)
      std::memcpy(values.query_input + static_cast<size_t>(row) * units,
                  values.input + static_cast<size_t>(token_of_row(row)) * units, units * sizeof(T));
    team.wait();
    const auto input = weights_.take(layer, QUERY, values.query_input, units, group.size(), units,
                                     team, scratch.room);
    project_one(layer, 0, input, group.size(), values, team, token_of_row);
  }

  // The i-th of queries, keys and values, for the tokens token_of_row(row); the queries scaled as
  // `Head` wants them.
  template <class Input, class TokenOfRow>
  void project_one(int layer, int i, const Input& input, int rows, const LayerValues<T>& values,
                   const Team& team, TokenOfRow token_of_row) const {
    const int units = sizes_.units;
    constexpr LayerParameter matrices[] = {QUERY, KEY, VALUE};
    const LayerParameter matrix = matrices[i];
    const float* bias = parameter(place_of(layer, matrix + 1));
    const float scale = LOG2_E / std::sqrt(static_cast<float>(sizes_.head_size()));
    const Vector factor = spread(i ? 1 : scale);
    T* projected = values.projected + i * units;
    weights_.multiply(input, rows, layer, matrix, share_columns(team, units), {0, units},
                      [&](int row, int column, Vector sum) {
                        const size_t token = token_of_row(row);
                        store(projected + token * 3 * units + column,
                              (sum + load(bias + column)) * factor);
                      });
  }

  // Output projection of the attention, dropout, residual; layer normalisation.
  void add_attention(int layer, Range rows, const LayerValues<T>& values, const Team& team,
                     Scratch& scratch) const {
    const int units = sizes_.units;
    const float* bias = parameter(place_of(layer, PROJECTION_BIAS));
    const auto input = weights_.take(layer, PROJECTION, values.context, units, rows.size(), units,
                                     team, scratch.room);
    weights_.multiply(input, rows.size(), layer, PROJECTION, share_columns(team, units), {0, units},
                      [&](int row, int column, Vector sum) {
                        const size_t place = static_cast<size_t>(row) * units + column;
                        sum = dropout_.apply(sum + load(bias + column),
                                             dropout_place(layer, DROP_PROJECTION),
                                             token_of(layer, rows.begin + row), column);
                        store(scratch.sums + place, sum + load(values.query_input + place));
                      });
    team.wait();
    normalize_rows(rows, team, scratch.sums, place_of(layer, ATTENTION_GAMMA),
                   values.attended_normal, values.attended_inverse,
                   [&](int row, int column, Vector x) {
                     store(values.attended + static_cast<size_t>(row) * units + column, x);
                   });
  }

  // Two dense layers around GELU, dropout, residual; layer normalisation.
  void feed_forward(int layer, Range rows, const LayerValues<T>& values, const Team& team,
                    Scratch& scratch) const {
    const int units = sizes_.units, hidden = sizes_.hidden_size;
    const int step = together_ ? hidden : std::min(CHUNK, hidden);
    const float* bias = parameter(place_of(layer, HIDDEN_BIAS));
    const float* out_bias = parameter(place_of(layer, OUT_BIAS));
    for (int start = 0; start < hidden; start += step) {
      const int end = std::min(hidden, start + step);
      const auto inward = weights_.take(layer, HIDDEN, values.attended, units, rows.size(), units,
                                        team, scratch.room);
      weights_.multiply(inward, rows.size(), layer, HIDDEN,
                        together_ ? share_columns(team, hidden) : Range{start, end}, {0, units},
                        [&](int row, int column, Vector sum) {
                          sum = sum + load(bias + column);
                          if (values.hidden)
                            store(values.hidden + static_cast<size_t>(row) * hidden + column, sum);
                          store(
                              scratch.activated + static_cast<size_t>(row) * step + column - start,
                              gelu<T>(sum));
                        });
      team.wait();
      const auto outward = weights_.take(layer, OUT, scratch.activated, step, rows.size(),
                                         end - start, team, scratch.room);
      weights_.multiply(outward, rows.size(), layer, OUT, share_columns(team, units), {start, end},
                        [&](int row, int column, Vector sum) {
                          const size_t place = static_cast<size_t>(row) * units + column;
                          sum =
                              sum + (start ? load(scratch.sums + place) : load(out_bias + column));
                          if (end == hidden)
                            sum = dropout_.apply(sum, dropout_place(layer, DROP_OUT),
                                                 token_of(layer, rows.begin + row), column) +
                                  load(values.attended + place);
                          store(scratch.sums + place, sum);
                        });
    }
    team.wait();
    normalize_rows(rows, team, scratch.sums, place_of(layer, OUT_GAMMA), values.out_normal,
                   values.out_inverse, [&](int row, int column, Vector x) {
                     store(values.output + static_cast<size_t>(row) * units + column, x);
                     emit(layer + 1, token_of(layer, rows.begin + row), column, x);
                   });
  }

  // gamma: the place of gamma; beta comes after it.
  template <class Take>
  void normalize_rows(Range rows, const Team& team, const float* sums, int gamma, T* normals,
                      float* inverses, Take take) const {
    const int units = sizes_.units;
    const Range mine = team.share(rows.size());
    for (int row = mine.begin; row < mine.end; ++row) {
      T* normal = normals ? normals + static_cast<size_t>(row) * units : nullptr;
      const float inverse = normalize(
          sums + static_cast<size_t>(row) * units, units, settings_.epsilon, [&](int i, Vector x) {
            if (normal) store(normal + i, x);
            take(row, i, scale_and_shift(x, parameter(gamma), parameter(gamma + 1), i));
          });
      if (inverses) inverses[row] = inverse;
    }
  }

  const Settings& settings_;
  const Sizes& sizes_;
  const Batch& batch_;
  const Tokens& tokens_;
  const std::vector<Parameter>& parameters_;
  const Weights& weights_;
  SavedPass<T>* saved_;
  float* output_;
  Dropout dropout_;
  bool together_ = false;
  std::vector<std::vector<Range>> parts_;  // groups of sequences, for each thread
  int most_rows_ = 0;                      // of a group
  T* states_ = nullptr;                    // (tokens, units) where nothing is saved
  LayerValues<T> firsts_;                  // of a layer of firsts, there
  std::vector<Scratch> scratch_;           // for each part
  std::vector<Attention<T>> attentions_;   // for each thread
  Arena arena_;
};

}  // namespace bert
