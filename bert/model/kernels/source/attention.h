// Attention of one head within one sequence (Vaswani et al. 2017, arXiv:1706.03762). Nothing is
// padded, and no score leaves the cache.
#pragma once

#include <cmath>

#include "dropout.h"
#include "layer_norm.h"
#include "memory.h"
#include "products.h"

namespace bert {

// Query, key and value of one head in one sequence. The queries carry the factor
// log2(e) / √head_size: softmax then is made of powers of 2.
template <class T>
struct Head {
  MatrixView<const T> query;       // (queries, size)
  MatrixView<const T> key, value;  // (length, size)
  int length, size, queries;
  const int* positions;  // (queries,) of the tokens that attend to all; null: all tokens do
  float* log_sums;       // (queries,) log2 of the sums of softmax, for backward; or null
  const Dropout* dropout;
  uint64_t dropout_site, first_token;  // for `Dropout::mask`

  Mask dropout_mask(int query, int column) const {
    return dropout->mask(dropout_site, first_token + (positions ? positions[query] : query),
                         column);
  }
};

// The work space of one thread, which computes head after head.
template <class T>
class Attention {
 public:
  // For heads of up to `longest` tokens and so many queries. with_backward: for `backward` too.
  void reserve(Arena& arena, int longest, int queries, int size, bool with_backward) {
    const size_t padded = round_up(longest, LANES), rows = round_up(queries, LANES);
    const size_t side = padded * size / PER_WORD<T>, query_side = rows * size / PER_WORD<T>;
    arena.allocate(packed_keys_, side);
    arena.allocate(packed_values_, side);
    arena.allocate(scores_, MR * padded);
    arena.allocate(exponentials_, MR * padded);
    if (!with_backward) return;
    arena.allocate(packed_key_rows_, side);
    arena.allocate(packed_context_gradient_, query_side);
    arena.allocate(packed_queries_, query_side);
    arena.allocate(probability_gradients_, MR * padded);
    arena.allocate(probabilities_, rows * padded);
    arena.allocate(score_gradients_, rows * padded);
    arena.allocate(interleaved_, rows * padded / PER_WORD<T>);
  }

  // context (queries, size): softmax(query keyᵀ) value.
  void forward(const Head<T>& head, MatrixView<T> context) {
    const size_t padded = round_up(head.length, LANES);
    const PackedB keys = pack_transposed(packed_keys_, head.key, head);
    const PackedB values = pack_rows(packed_values_, head.value, head.length, head.size);
    const MatrixView<float> scores(scores_, padded);
    const MatrixView<T> exponentials(exponentials_, padded);
    for (int row = 0; row < head.queries; row += MR) {
      const int rows = std::min(MR, head.queries - row);
      compute_scores(head.query.from_row(row), rows, keys, scores);
      float scales[MR];
      for (int i = 0; i < rows; ++i)
        scales[i] = softmax_row(head, row + i, scores.row(i), exponentials.row(i));
      multiply_in_cache<T>(operand_a(exponentials), rows, values, [&](int column) {
        return [=, factors = &scales[0]](int i, Vector sum) {
          store(context.at(row + i, column), sum * spread(factors[i]));
        };
      });
    }
  }

  // From the gradient of the context to those of query, key and value; that of the query is the
  // gradient before the queries were scaled.
  void backward(const Head<T>& head, MatrixView<const T> context,
                MatrixView<const T> context_gradient, MatrixView<T> query_gradient,
                MatrixView<T> key_gradient, MatrixView<T> value_gradient) {
    const size_t padded = round_up(head.length, LANES);
    const PackedB keys = pack_transposed(packed_keys_, head.key, head);
    const PackedB values = pack_transposed(packed_values_, head.value, head);
    const PackedB key_rows = pack_rows(packed_key_rows_, head.key, head.length, head.size);
    const MatrixView<float> scores(scores_, padded);
    const MatrixView<float> probability_gradients(probability_gradients_, padded);
    const MatrixView<T> probabilities(probabilities_, padded);
    const MatrixView<T> score_gradients(score_gradients_, padded);
    const Vector scale = spread(1 / std::sqrt(static_cast<float>(head.size)));
    for (int row = 0; row < head.queries; row += MR) {
      const int rows = std::min(MR, head.queries - row);
      compute_scores(head.query.from_row(row), rows, keys, scores);
      compute_scores(context_gradient.from_row(row), rows, values, probability_gradients);
      for (int i = 0; i < rows; ++i)
        softmax_row_backward(head, row + i, scores.row(i), probability_gradients.row(i),
                             dot(context.row(row + i), context_gradient.row(row + i), head.size),
                             probabilities.row(row + i), score_gradients.row(row + i));
      multiply_in_cache<T>(
          operand_a(score_gradients.from_row(row)), rows, key_rows, [&](int column) {
            return
                [=](int i, Vector sum) { store(query_gradient.at(row + i, column), sum * scale); };
          });
    }
    sum_over_queries(head, probabilities,
                     pack_rows(packed_context_gradient_, context_gradient, head.queries, head.size),
                     1, value_gradient);
    // The queries carry log2(e) / √size, and this needs 1 / √size.
    sum_over_queries(head, score_gradients,
                     pack_rows(packed_queries_, head.query, head.queries, head.size), 1 / LOG2_E,
                     key_gradient);
  }

 private:
  // valuesᵀ, (size, padded length), as right operand.
  static PackedB pack_transposed(Word* words, MatrixView<const T> values, const Head<T>& head) {
    PackedB packed = {words, head.size / PER_WORD<T>,
                      static_cast<int>(round_up(head.length, LANES))};
    pack_b_transposed(
        [&](int row, int word) { return load_words(values.at(row, word * PER_WORD<T>)); },
        head.length, {0, packed.columns}, packed);
    return packed;
  }

  // values (rows, size) as right operand.
  static PackedB pack_rows(Word* words, MatrixView<const T> values, int rows, int size) {
    PackedB packed = {words, static_cast<int>(round_up(rows, LANES)) / PER_WORD<T>, size};
    pack_b<T>([&](int row, int column) { return load(values.at(row, column)); }, rows,
              {0, packed.columns}, {0, packed.depth}, packed);
    return packed;
  }

  // scores (rows, padded length): values (rows, size) · columns.
  static void compute_scores(MatrixView<const T> values, int rows, const PackedB& columns,
                             MatrixView<float> scores) {
    multiply_in_cache<T>(operand_a(values), rows, columns, scores);
  }

  // The exponentials of a row of scores, some of them dropped. Returns the factor that makes them
  // probabilities, with which the context is multiplied instead.
  float softmax_row(const Head<T>& head, int row, const float* scores, T* exponentials) {
    const int whole = head.length / LANES * LANES;  // the columns of whole vectors
    const Mask rest = first_lanes(head.length - whole);
    const bool drops = !head.dropout->is_off();
    Vector maximum = spread(-INFINITY), sum = spread(0);
    for (int j = 0; j < whole; j += LANES) maximum = max(maximum, load(scores + j));
    if (whole < head.length) maximum = where(rest, max(maximum, load(scores + whole)), maximum);
    const float largest_score = largest_of(maximum);
    const Vector largest = spread(largest_score);
    auto write = [&](int j, Vector exponential) {
      sum = sum + exponential;
      if (drops) exponential = where(head.dropout_mask(row, j), exponential);
      store(exponentials + j, exponential);
    };
    for (int j = 0; j < whole; j += LANES) write(j, softmax_exp2<T>(load(scores + j) - largest));
    if (whole < head.length)
      write(whole, where(rest, softmax_exp2<T>(load(scores + whole) - largest)));
    const float total = sum_of(sum);
    if (head.log_sums) head.log_sums[row] = largest_score + std::log2(total);
    return head.dropout->scale() / total;
  }

  // Computes a row of the probabilities again, as dropout left them, and the gradients of its
  // scores. delta: the product of the context and its gradient, which is the sum of the products of
  // the probabilities and their gradients (FlashAttention, Dao et al. 2022, arXiv:2205.14135).
  void softmax_row_backward(const Head<T>& head, int row, const float* scores,
                            const float* probability_gradients, float delta, T* probabilities,
                            T* score_gradients) {
    const int padded = round_up(head.length, LANES);
    const Vector scale = spread(head.dropout->scale()), log_sum = spread(head.log_sums[row]);
    for (int j = 0; j < padded; j += LANES) {
      const Vector probability =
          where(first_lanes(head.length - j), softmax_exp2<T>(load(scores + j) - log_sum));
      const Mask mask = head.dropout->is_off() ? all_lanes() : head.dropout_mask(row, j);
      const Vector outer = where(mask, load(probability_gradients + j) * scale);
      store(probabilities + j, where(mask, probability * scale));
      store(score_gradients + j, probability * (outer - spread(delta)));
    }
  }

  // gradient (length, size) = scale · weightsᵀ (length, queries) · right
  void sum_over_queries(const Head<T>& head, MatrixView<const T> weights, const PackedB& right,
                        float scale, MatrixView<T> gradient) {
    const size_t padded = round_up(head.length, LANES);
    auto read = [&](int row, int column) { return load(weights.at(row, column)); };
    for (int word = 0; word < right.depth; ++word)
      for (int column = 0; column < static_cast<int>(padded); column += LANES)
        store_words(interleaved_ + word * padded + column,
                    interleave_rows<T>(read, head.queries, word, column));
    multiply_in_cache<T>(OperandA{interleaved_, 1, padded}, head.length, right, [&](int column) {
      return [=](int row, Vector sum) { store(gradient.at(row, column), sum * spread(scale)); };
    });
  }

  static float dot(const T* a, const T* b, int size) {
    Vector sum = spread(0);
    for (int i = 0; i < size; i += LANES) sum = fmadd(load(a + i), load(b + i), sum);
    return sum_of(sum);
  }

  // The padded length of the head is the stride of all of these.
  Word *packed_keys_ = nullptr, *packed_values_ = nullptr;
  float* scores_ = nullptr;    // MR rows
  T* exponentials_ = nullptr;  // MR rows
  // For backward:
  Word *packed_key_rows_ = nullptr, *packed_context_gradient_ = nullptr;
  Word *packed_queries_ = nullptr, *interleaved_ = nullptr;
  float* probability_gradients_ = nullptr;                   // MR rows
  T *probabilities_ = nullptr, *score_gradients_ = nullptr;  // all rows
};

}  // namespace bert
