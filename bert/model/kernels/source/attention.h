// Attention of one head within one sequence (Vaswani et al. 2017, arXiv:1706.03762): nothing is
// padded, and no score leaves the cache.
#pragma once

#include <cmath>

#include "dropout.h"
#include "layer_norm.h"
#include "memory.h"
#include "products.h"

namespace bert {

// Query, key and value of one head in one sequence, each with `stride` from a token to the next.
// The queries are scaled by log2(e) / √head_size: softmax then is made of powers of 2.
template <class T>
struct Head {
  const T *query, *key, *value;
  size_t stride;
  int length, size;
  int queries;      // this many tokens, from the first on, attend to all; often `length`
  float* log_sums;  // (length,) log2 of the sums of softmax; for backward
  const Dropout* dropout;
  uint64_t place, row;  // for `Dropout::keep`
};

template <class T>
class Attention {
 public:
  // Memory for heads of up to `longest` tokens, of `arena`. with_backward: for `backward` too.
  void reserve(Arena& arena, int longest, int size, bool with_backward) {
    const size_t padded = round_up(longest, LANES), all = padded * padded / PER_WORD<T>;
    const size_t side = padded * size / PER_WORD<T>;
    arena.give(keys_, side);
    arena.give(values_, side);
    arena.give(scores_, TILE_ROWS * padded);
    arena.give(weights_, TILE_ROWS * padded);
    if (!with_backward) return;
    arena.give(rows_[0], side);
    arena.give(rows_[1], side);
    arena.give(rows_[2], side);
    arena.give(slopes_, TILE_ROWS * padded);
    arena.give(kept_, padded * padded);
    arena.give(score_gradients_, padded * padded);
    arena.give(columns_, all);
  }

  // context (queries, size): softmax(query keyᵀ) value.
  void forward(const Head<T>& head, T* context, size_t context_stride) {
    const int padded = round_up(head.length, LANES);
    Packed keys = transposed(keys_, head.key, head, head.stride);
    Packed values = untransposed(values_, head.value, head.length, head.size, head.stride);
    for (int row = 0; row < head.queries; row += TILE_ROWS) {
      const int rows = std::min(TILE_ROWS, head.queries - row);
      score(row, rows, head.query, head.stride, keys, scores_);
      float inverse[TILE_ROWS];
      for (int i = 0; i < rows; ++i) inverse[i] = soften(head, row + i, i, padded);
      multiply<T>(rows_of(weights_, padded), rows, values, [&](int i, int column, Vector sum) {
        store(context + (row + i) * context_stride + column, sum * spread(inverse[i]));
      });
    }
  }

  // Gradients of query, key and value, with head.stride, before the queries were scaled, out of
  // that of the context.
  void backward(const Head<T>& head, const T* context, const T* gradient, size_t context_stride,
                T* query_gradient, T* key_gradient, T* value_gradient) {
    const int padded = round_up(head.length, LANES);
    Packed keys = transposed(keys_, head.key, head, head.stride);
    Packed values = transposed(values_, head.value, head, head.stride);
    Packed key_rows = untransposed(rows_[0], head.key, head.length, head.size, head.stride);
    const Vector scale = spread(1 / std::sqrt(static_cast<float>(head.size)));
    for (int row = 0; row < head.queries; row += TILE_ROWS) {
      const int rows = std::min(TILE_ROWS, head.queries - row);
      score(row, rows, head.query, head.stride, keys, scores_);
      score(row, rows, gradient, context_stride, values, slopes_);
      for (int i = 0; i < rows; ++i) {
        const size_t start = (row + i) * context_stride;
        soften_backward(head, row + i, i, padded,
                        dot(context + start, gradient + start, head.size));
      }
      multiply<T>(rows_of(score_gradients_ + static_cast<size_t>(row) * padded, padded), rows,
                  key_rows, [&](int i, int column, Vector sum) {
                    store(query_gradient + (row + i) * head.stride + column, sum * scale);
                  });
    }
    sum_over_queries(head, kept_,
                     untransposed(rows_[1], gradient, head.queries, head.size, context_stride), 1,
                     value_gradient);
    // The queries carry log2(e) / √size, and this wants 1 / √size.
    sum_over_queries(head, score_gradients_,
                     untransposed(rows_[2], head.query, head.queries, head.size, head.stride),
                     1 / LOG2_E, key_gradient);
  }

 private:
  Packed transposed(Word* words, const T* values, const Head<T>& head, size_t stride) {
    Packed packed = {words, head.size / PER_WORD<T>,
                     static_cast<int>(round_up(head.length, LANES))};
    pack_transposed(
        [&](int row, int word) { return load_words(values + row * stride + word * PER_WORD<T>); },
        head.length, {0, packed.columns}, packed);
    return packed;
  }

  // (rows, size) values, `stride` from a row to the next.
  static Packed untransposed(Word* words, const T* values, int rows, int size, size_t stride) {
    Packed packed = {words, static_cast<int>(round_up(rows, LANES)) / PER_WORD<T>, size};
    pack<T>([&](int row, int column) { return load(values + row * stride + column); }, rows,
            {0, packed.columns}, {0, packed.depth}, packed);
    return packed;
  }

  // scores (rows, padded length) of rows from `row` on with all columns.
  void score(int row, int rows, const T* values, size_t stride, const Packed& columns,
             float* scores) {
    multiply<T>(
        rows_of(values + row * stride, stride), rows, columns,
        [&](int i, int column, Vector sum) { store(scores + i * columns.columns + column, sum); });
  }

  // Powers of 2 of a row of scores, some of them dropped, into weights_. Returns what to multiply
  // them by.
  float soften(const Head<T>& head, int row, int i, int padded) {
    const float* scores = scores_ + i * padded;
    T* weights = weights_ + i * padded;
    Vector most = spread(-INFINITY), sum = spread(0);
    for (int j = 0; j < padded; j += LANES)
      most = where(first_lanes(head.length - j), max(most, load(scores + j)), most);
    const float largest = largest_of(most);
    for (int j = 0; j < padded; j += LANES) {
      Vector weight = weight_of<T>(load(scores + j) - spread(largest));
      weight = where(first_lanes(head.length - j), weight);
      sum = sum + weight;
      if (!head.dropout->is_off())
        weight = where(head.dropout->keep(head.place, head.row + row, j), weight);
      store(weights + j, weight);
    }
    const float total = sum_of(sum);
    if (head.log_sums) head.log_sums[row] = largest + std::log2(total);
    return head.dropout->scale() / total;
  }

  // A row of the weights as they were used, into kept_, and of the gradients of the scores. slope:
  // the context's gradient times the context.
  void soften_backward(const Head<T>& head, int row, int i, int padded, float slope) {
    const float *scores = scores_ + i * padded, *slopes = slopes_ + i * padded;
    T* kept = kept_ + static_cast<size_t>(row) * padded;
    T* gradients = score_gradients_ + static_cast<size_t>(row) * padded;
    const Vector scale = spread(head.dropout->scale()), log_sum = spread(head.log_sums[row]);
    for (int j = 0; j < padded; j += LANES) {
      const Vector weight =
          where(first_lanes(head.length - j), weight_of<T>(load(scores + j) - log_sum));
      const Mask keep =
          head.dropout->is_off() ? all_lanes() : head.dropout->keep(head.place, head.row + row, j);
      const Vector outer = where(keep, load(slopes + j) * scale);
      store(kept + j, where(keep, weight * scale));
      store(gradients + j, weight * (outer - spread(slope)));
    }
  }

  // gradient (length, size) = scale · weightsᵀ (length, queries) · right
  void sum_over_queries(const Head<T>& head, const T* weights, const Packed& right, float scale,
                        T* gradient) {
    const int padded = round_up(head.length, LANES);
    auto read = [&](int row, int column) {
      return load(weights + static_cast<size_t>(row) * padded + column);
    };
    for (int word = 0; word < right.depth; ++word)
      for (int column = 0; column < padded; column += LANES)
        store_words(columns_ + static_cast<size_t>(word) * padded + column,
                    join_rows<T>(read, head.queries, word, column));
    multiply<T>({columns_, 1, static_cast<size_t>(padded)}, head.length, right,
                [&](int row, int column, Vector sum) {
                  store(gradient + row * head.stride + column, sum * spread(scale));
                });
  }

  static float dot(const T* a, const T* b, int size) {
    Vector sum = spread(0);
    for (int i = 0; i < size; i += LANES) sum = fmadd(load(a + i), load(b + i), sum);
    return sum_of(sum);
  }

  // Words: packed operands. rows_: keys, gradients of the context, queries, not transposed.
  Word *keys_ = nullptr, *values_ = nullptr, *rows_[3] = {}, *columns_ = nullptr;
  float *scores_ = nullptr, *slopes_ = nullptr;  // TILE_ROWS rows of them
  T *weights_ = nullptr, *kept_ = nullptr, *score_gradients_ = nullptr;
};

}  // namespace bert
