// Products of matrices: tiles of sums that never leave the registers.
#pragma once

#include <utility>

#include "packing.h"

namespace bert {

// So many numbers of a sum at a time that the right operand stays in the cache.
constexpr int CHUNK = 768;

// The left operand: row m, word k at words[m * row_step + k * word_step].
struct Left {
  const Word* words;
  size_t row_step, word_step;
};

template <class T>
inline Left rows_of(const T* values, size_t stride) {
  return {reinterpret_cast<const Word*>(values), stride / PER_WORD<T>, 1};
}

// sums (ROWS, VECTORS LANES) = a · b over `depth` words of a panel. Not inlined: the compiler keeps
// all sums in registers only where nothing else competes for them.
template <class T, int ROWS, int VECTORS>
[[gnu::noinline]] void multiply_tile(Left a, const Word* b, int depth, float* sums) {
  Vector sum[ROWS][VECTORS];
#pragma GCC unroll 8
  for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < VECTORS; ++j) sum[i][j] = spread(0);
  const Word* word = a.words;
  for (int k = 0; k < depth; ++k) {
    Vector right[VECTORS];
#pragma GCC unroll 4
    for (int j = 0; j < VECTORS; ++j) right[j] = load_operand(b + j * LANES);
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; ++i) {
      const Vector left = spread_word(word[i * a.row_step]);
#pragma GCC unroll 4
      for (int j = 0; j < VECTORS; ++j) sum[i][j] = multiply_add<T>(sum[i][j], left, right[j]);
    }
    word += a.word_step;
    b += VECTORS * LANES;
  }
#pragma GCC unroll 8
  for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < VECTORS; ++j) store(sums + (i * VECTORS + j) * LANES, sum[i][j]);
}

using Tile = void (*)(Left, const Word*, int, float*);

template <class T, int VECTORS, int... BEFORE>
inline Tile tile_of_rows(int rows, std::integer_sequence<int, BEFORE...>) {
  static constexpr Tile tiles[] = {multiply_tile<T, 1 + BEFORE, VECTORS>...};
  return tiles[rows - 1];
}

template <class T>
inline Tile find_tile(int rows, int width) {
  constexpr auto all = std::make_integer_sequence<int, TILE_ROWS>();
  return width == 3 * LANES   ? tile_of_rows<T, 3>(rows, all)
         : width == 2 * LANES ? tile_of_rows<T, 2>(rows, all)
                              : tile_of_rows<T, 1>(rows, all);
}

// One tile, and `finish(row, column, LANES sums)` for all of it.
template <class T, class Finish>
inline void compute_tile(Left a, int rows, const Word* panel, int width, int depth, Finish finish) {
  alignas(64) float sums[TILE_ROWS * TILE_COLUMNS];
  find_tile<T>(rows, width)(a, panel, depth, sums);
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < width; j += LANES) finish(i, j, load(sums + i * width + j));
}

// Asks for a part of `bytes` from `from` on: the part-th of `parts`.
inline void prefetch_part(const void* from, size_t bytes, int part, int parts) {
  constexpr size_t LINE = 64;
  const size_t lines = (bytes + LINE - 1) / LINE, each = (lines + parts - 1) / parts;
  const char* line = static_cast<const char*>(from);
  for (size_t i = part * each; i < std::min(lines, (part + 1) * each); ++i)
    _mm_prefetch(line + i * LINE, _MM_HINT_T1);
}

// What is done before a tile (rows, columns) is computed: nothing.
struct Nothing {
  void operator()(Range, Range) const {}
};

// a (rows, words.size()) · b's `words` of `columns`; `finish(row, column, LANES sums)` takes them.
// before(rows, columns): of each tile, to ask for what `finish` is going to read.
template <class T, class Finish, class Before = Nothing>
inline void multiply(Left a, int rows, const Packed& b, Range columns, Range words, Finish finish,
                     Before before = {}) {
  for (int column = columns.begin; column < columns.end;) {
    const int width = panel_width(b.columns - column), after = column + width;
    const Word* panel = b.panel(column) + static_cast<size_t>(words.begin) * width;
    const int next_width = after < columns.end ? panel_width(b.columns - after) : 0;
    const Word* next = b.panel(after) + static_cast<size_t>(words.begin) * next_width;
    for (int row = 0; row < rows; row += TILE_ROWS) {
      prefetch_part(next, sizeof(Word) * next_width * words.size(), row / TILE_ROWS,
                    (rows + TILE_ROWS - 1) / TILE_ROWS);
      before(Range{row, std::min(rows, row + TILE_ROWS)}, Range{column, after});
      compute_tile<T>({a.words + row * a.row_step, a.row_step, a.word_step},
                      std::min(TILE_ROWS, rows - row), panel, width, words.size(),
                      [&](int i, int j, Vector sum) { finish(row + i, column + j, sum); });
    }
    column = after;
  }
}

template <class T, class Finish, class Before = Nothing>
inline void multiply(Left a, int rows, const Packed& b, Finish finish, Before before = {}) {
  multiply<T>(a, rows, b, {0, b.columns}, {0, b.depth}, finish, before);
}

// aᵀ · b, the gradient of a weight, which sums over tokens: rows `rows` of it (columns of a) and
// `columns`, with `stride` from a row to the next. add: to what stands there.
template <class T>
inline void multiply_left(const PackedLeft& a, Range rows, const Packed& b, Range columns, bool add,
                          float* gradient, size_t stride) {
  constexpr int DEPTH = 512, ROWS = 256;  // words and rows of a that stay in the cache: 512 KiB
  for (int word = 0; word < b.depth; word += DEPTH) {
    const int depth = std::min(DEPTH, b.depth - word);
    for (int block = rows.begin; block < rows.end; block += ROWS)
      for (int column = columns.begin; column < columns.end;) {
        const int width = panel_width(b.columns - column);
        const Word* panel = b.panel(column) + static_cast<size_t>(word) * width;
        for (int row = block; row < std::min(rows.end, block + ROWS); row += TILE_ROWS) {
          const Left left = {a.panel(row) + static_cast<size_t>(word) * TILE_ROWS, 1, TILE_ROWS};
          float* corner = gradient + (row - rows.begin) * stride + column;
          compute_tile<T>(left, TILE_ROWS, panel, width, depth, [&](int i, int j, Vector sum) {
            if (row + i >= rows.end) return;
            float* place = corner + i * stride + j;
            store(place, word || add ? sum + load(place) : sum);
          });
        }
        column += width;
      }
  }
}

}  // namespace bert
