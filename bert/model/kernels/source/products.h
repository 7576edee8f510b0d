// Products of matrices, as in BLIS (Van Zee & van de Geijn 2015): a micro-kernel computes a tile of
// sums that never leaves the registers; an epilogue, which is inlined, finishes each tile.
#pragma once

#include <utility>

#include "packing.h"

namespace bert {

// So many numbers of a long sum at a time keep a panel of the right operand in the cache.
constexpr int KC = 768;

// The left operand a: row m, word k is at words[m * row_step + k * word_step].
struct OperandA {
  const Word* words;
  size_t row_step, word_step;

  OperandA from_row(int row) const { return {words + row * row_step, row_step, word_step}; }
};

// The rows of a matrix as left operand, as they are.
template <class T>
inline OperandA operand_a(MatrixView<T> matrix) {
  return {reinterpret_cast<const Word*>(matrix.data), matrix.stride / PER_WORD<T>, 1};
}

constexpr size_t LINE = 64;  // bytes of a line of the cache

// Memory that is going to be read.
struct Ahead {
  const char* from = nullptr;
  size_t bytes = 0;

  // One of `count` equal shares, in whole lines.
  Ahead share(int number, int count) const {
    const size_t lines = (bytes + LINE - 1) / LINE;
    const size_t each = (lines + count - 1) / count * LINE, start = std::min(bytes, number * each);
    return {from + start, std::min(each, bytes - start)};
  }
  void prefetch() const {
    for (size_t i = 0; i < bytes; i += LINE) _mm_prefetch(from + i, _MM_HINT_T1);
  }
};

// Prefetches it during a number of steps, at each step a line of its first and one of its second
// half. Many prefetches at once keep the multipliers waiting until most of the lines have come.
class GradualPrefetch {
 public:
  GradualPrefetch(const Ahead& ahead, int steps)
      : next_(ahead.from), distance_((ahead.bytes + 2 * LINE - 1) / (2 * LINE) * LINE),
        step_(std::min(LINE, (distance_ + steps - 1) / steps)) {}
  void advance() {
    _mm_prefetch(next_, _MM_HINT_T1);
    _mm_prefetch(next_ + distance_, _MM_HINT_T1);
    next_ += step_;
  }

 private:
  const char* next_;
  size_t distance_, step_;
};

// The largest number of tiles of a panel during which the next panel comes gradually. With more,
// a tile has few lines to prefetch, and prefetches at each step cost more than they save: 3 % with
// 32 tiles of bfloat16 or int8 on an AMD EPYC.
constexpr int GRADUAL_TILES = 8;

// sums (ROWS, VECTORS LANES) = a · panel over `depth` words. Not inlined: the compiler keeps all
// sums in registers only where nothing else competes for them. stride: from a row of the sums to
// the next. ahead: prefetched meanwhile, if IS_GRADUAL.
template <class T, int ROWS, int VECTORS, bool IS_GRADUAL>
[[gnu::noinline]] void micro_kernel(OperandA a, const Word* panel, int depth, float* sums,
                                    size_t stride, Ahead ahead) {
  GradualPrefetch prefetch(ahead, depth);
  Vector sum[ROWS][VECTORS];
#pragma GCC unroll 8
  for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < VECTORS; ++j) sum[i][j] = spread(0);
  const Word* word = a.words;
  for (int k = 0; k < depth; ++k) {
    if (IS_GRADUAL) prefetch.advance();
    Vector right[VECTORS];
#pragma GCC unroll 4
    for (int j = 0; j < VECTORS; ++j) right[j] = load_operand(panel + j * LANES);
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; ++i) {
      const Vector left = spread_word(word[i * a.row_step]);
#pragma GCC unroll 4
      for (int j = 0; j < VECTORS; ++j) sum[i][j] = multiply_add<T>(sum[i][j], left, right[j]);
    }
    word += a.word_step;
    panel += VECTORS * LANES;
  }
#pragma GCC unroll 8
  for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < VECTORS; ++j) store(sums + i * stride + j * LANES, sum[i][j]);
}

using MicroKernel = void (*)(OperandA, const Word*, int, float*, size_t, Ahead);

template <class T, int VECTORS, bool IS_GRADUAL, int... ROWS_BEFORE>
inline MicroKernel micro_kernel_of(int rows, std::integer_sequence<int, ROWS_BEFORE...>) {
  static constexpr MicroKernel kernels[] = {
      micro_kernel<T, 1 + ROWS_BEFORE, VECTORS, IS_GRADUAL>...};
  return kernels[rows - 1];
}

template <class T, bool IS_GRADUAL>
inline MicroKernel find_micro_kernel(int rows, int width) {
  constexpr auto all_rows = std::make_integer_sequence<int, MR>();
  return width == 3 * LANES   ? micro_kernel_of<T, 3, IS_GRADUAL>(rows, all_rows)
         : width == 2 * LANES ? micro_kernel_of<T, 2, IS_GRADUAL>(rows, all_rows)
                              : micro_kernel_of<T, 1, IS_GRADUAL>(rows, all_rows);
}

// The epilogue of the part of a product that starts at a row and a column.
template <class Epilogue>
inline auto from(const Epilogue& epilogue, int row, int column) {
  return [&epilogue, row, column](int j) {
    return [row, finish = epilogue(column + j)](int i, Vector sum) { finish(row + i, sum); };
  };
}

// One tile of the product, for the epilogue: `epilogue(column)` loads what belongs to LANES
// columns, a bias or a scale, and returns `finish(row, LANES sums)`. Both keep what they need by
// value: what a reference leads to would be read again after each store. ahead: prefetched before
// the tile, or with is_gradual meanwhile.
template <class T, class Epilogue>
inline void compute_tile(OperandA a, int rows, const Word* panel, int width, int depth,
                         Epilogue epilogue, const Ahead& ahead = {}, bool is_gradual = false) {
  alignas(64) float sums[MR * NR];
  if (!is_gradual) ahead.prefetch();
  const MicroKernel kernel = is_gradual ? find_micro_kernel<T, true>(rows, width)
                                        : find_micro_kernel<T, false>(rows, width);
  kernel(a, panel, depth, sums, width, ahead);
  for (int j = 0; j < width; j += LANES) {
    const auto finish = epilogue(j);
    for (int i = 0; i < rows; ++i) finish(i, load(sums + i * width + j));
  }
}

// The prefetch hook of an epilogue that reads nothing worth a prefetch.
struct NoPrefetch {
  void operator()(Range, Range) const {}
};

// `words` of the panel of b that starts at `column`.
inline Ahead ahead_of(const PackedB& b, int column, Range words) {
  const int width = panel_width(b.columns - column);
  return {reinterpret_cast<const char*>(b.panel(column, width, words.begin)),
          sizeof(Word) * width * words.size()};
}

// a (rows, words.size()) · `words` and `columns` of b, panel after panel. epilogue: of
// `compute_tile`. A panel stays in the cache for all rows, and while it is used, the next one is
// prefetched, a share with each tile, and with the last panel what comes `after` it.
// prefetch(rows, columns): the hook that is called before each tile, to prefetch what the epilogue
// is going to read.
template <class T, class Epilogue, class Prefetch = NoPrefetch>
inline void multiply(OperandA a, int rows, const PackedB& b, Range columns, Range words,
                     Epilogue epilogue, Prefetch prefetch = {}, const Ahead& after = {}) {
  const int tiles = (rows + MR - 1) / MR;
  for (int column = columns.begin; column < columns.end;) {
    const int width = panel_width(b.columns - column), next = column + width;
    const Word* panel = b.panel(column, width, words.begin);
    const Ahead ahead = next < columns.end ? ahead_of(b, next, words) : after;
    const bool is_gradual = ahead.bytes && tiles <= GRADUAL_TILES;
    for (int row = 0; row < rows; row += MR) {
      prefetch(Range{row, std::min(rows, row + MR)}, Range{column, next});
      compute_tile<T>(a.from_row(row), std::min(MR, rows - row), panel, width, words.size(),
                      from(epilogue, row, column), ahead.share(row / MR, tiles), is_gradual);
    }
    column = next;
  }
}

// The whole product of operands that are in the cache: nothing is prefetched.
template <class T, class Epilogue>
inline void multiply_in_cache(OperandA a, int rows, const PackedB& b, Epilogue epilogue) {
  for (int column = 0; column < b.columns;) {
    const int width = panel_width(b.columns - column);
    const Word* panel = b.panel(column, width, 0);
    for (int row = 0; row < rows; row += MR)
      compute_tile<T>(a.from_row(row), std::min(MR, rows - row), panel, width, b.depth,
                      from(epilogue, row, column));
    column += width;
  }
}

// The same of up to MR rows, without an epilogue.
template <class T>
inline void multiply_in_cache(OperandA a, int rows, const PackedB& b, MatrixView<float> product) {
  for (int column = 0; column < b.columns;) {
    const int width = panel_width(b.columns - column);
    find_micro_kernel<T, false>(rows, width)(a, b.panel(column, width, 0), b.depth,
                                             product.at(0, column), product.stride, {});
    column += width;
  }
}

// The whole product.
template <class T, class Epilogue, class Prefetch = NoPrefetch>
inline void multiply(OperandA a, int rows, const PackedB& b, Epilogue epilogue,
                     Prefetch prefetch = {}) {
  multiply<T>(a, rows, b, {0, b.columns}, {0, b.depth}, epilogue, prefetch);
}

// The macro-kernel of `multiply_packed`: `words` of the sums, of as many `rows` as stay in the
// cache.
template <class T, class Epilogue>
inline void multiply_packed_block(const PackedA& a, Range rows, const PackedB& b, Range columns,
                                  Range words, Epilogue epilogue) {
  for (int column = columns.begin; column < columns.end;) {
    const int width = panel_width(b.columns - column);
    const Word* panel = b.panel(column, width, words.begin);
    for (int row = rows.begin; row < rows.end; row += MR)
      compute_tile<T>({a.panel(row, words.begin), 1, MR}, MR, panel, width, words.size(),
                      from(epilogue, row, column));
    column += width;
  }
}

// aᵀ · b, which sums over tokens: the gradient of a weight. Computes `rows` of it, which are
// columns of a, and `columns`; the first of these rows is the first of `gradient`. rows.begin: a
// multiple of MR. accumulate: add to the values that are there.
template <class T>
inline void multiply_packed(const PackedA& a, Range rows, const PackedB& b, Range columns,
                            MatrixView<float> gradient, bool accumulate) {
  constexpr int DEPTH = 512, ROWS = 256;  // KC and MC: 512 KiB of a, which stay in the cache
  for (int word = 0; word < b.depth; word += DEPTH)
    for (int row = rows.begin; row < rows.end; row += ROWS)
      multiply_packed_block<T>(a, {row, std::min(rows.end, row + ROWS)}, b, columns,
                               {word, std::min(b.depth, word + DEPTH)}, [&](int column) {
                                 return [=](int i, Vector sum) {
                                   if (i >= rows.end) return;  // the last tile is larger
                                   float* target = gradient.at(i - rows.begin, column);
                                   store(target, word || accumulate ? sum + load(target) : sum);
                                 };
                               });
}

}  // namespace bert
