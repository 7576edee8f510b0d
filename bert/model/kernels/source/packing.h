// Operands of products in the order in which they are read.
#pragma once

#include <algorithm>

#include "team.h"
#include "vectors.h"

namespace bert {

// 3 vectors of sums for each row, 3 of b and one of a: with AVX-512 8 rows, which are 28 of the 32
// registers; with AVX2 4 rows, all 16.
constexpr int TILE_ROWS = LANES / 2;
constexpr int TILE_COLUMNS = 3 * LANES;

// Columns of the next panel when `left` are left: 3 vectors, and 2 where that leaves no panel of
// one, which would keep the multipliers waiting for the sums before.
inline int panel_width(int left) {
  const int vectors = left / LANES;
  return vectors == 1 ? LANES : vectors == 2 || vectors == 4 ? 2 * LANES : TILE_COLUMNS;
}

// This member's columns: whole panels.
inline Range share_columns(const Team& team, int columns) {
  auto start = [columns](long wanted) {
    int column = 0;
    while (column < wanted) column += panel_width(columns - column);
    return column;
  };
  return {start(static_cast<long>(columns) * team.rank / team.size),
          start(static_cast<long>(columns) * (team.rank + 1) / team.size)};
}

// The right operand b of a product, (depth words, columns): panels of columns, one after the other,
// in each of them word after word. columns: a multiple of LANES.
struct Packed {
  Word* words = nullptr;
  int depth = 0, columns = 0;

  size_t size() const { return static_cast<size_t>(depth) * columns; }
  // The first word of the panel that starts at `column`, `width` wide.
  Word* panel(int column) const { return words + static_cast<size_t>(column) * depth; }
};

// b = sourceᵀ: column n is row n of `source`, of which `read(row, word)` gives LANES words. Columns
// behind `rows` are zeros. depth: a multiple of LANES.
template <class Read>
void pack_transposed(Read read, int rows, Range columns, Packed& packed) {
  for (int start = columns.begin; start < columns.end;) {
    const int width = panel_width(packed.columns - start);
    Word* panel = packed.panel(start);
    for (int n = 0; n < width; n += LANES)
      for (int word = 0; word < packed.depth; word += LANES) {
        Words square[LANES];
        for (int i = 0; i < LANES; ++i)
          square[i] = start + n + i < rows ? read(start + n + i, word) : no_words();
        transpose(square);
        for (int i = 0; i < LANES; ++i)
          store_words(panel + static_cast<size_t>(word + i) * width + n, square[i]);
      }
    start += width;
  }
}

// Word `word` of LANES columns from `column` on, of a matrix whose `read(row, column)` gives
// so many numbers of a row. Rows behind `rows` are zeros.
template <class T, class Read>
inline Words join_rows(Read& read, int rows, int word, int column) {
  const int row = word * PER_WORD<T>;
  const Vector first = row < rows ? read(row, column) : spread(0);
  const Vector second = PER_WORD<T> > 1 && row + 1 < rows ? read(row + 1, column) : spread(0);
  return join<T>(first, second);
}

// b = source. `read`, `rows`: as for `join_rows`.
template <class T, class Read>
void pack(Read read, int rows, Range columns, Range words, Packed& packed) {
  for (int word = words.begin; word < words.end; ++word)
    for (int start = columns.begin; start < columns.end;) {
      const int width = panel_width(packed.columns - start);
      Word* place = packed.panel(start) + static_cast<size_t>(word) * width;
      for (int n = 0; n < width; n += LANES)
        store_words(place + n, join_rows<T>(read, rows, word, start + n));
      start += width;
    }
}

// A dense layer's weight (rows, width) for what the layer gives, x Wᵀ: `columns` of it.
template <class T>
void pack_for_output(const float* weight, int rows, Range columns, Packed& packed) {
  const size_t width = static_cast<size_t>(packed.depth) * PER_WORD<T>;
  pack_transposed(
      [&](int row, int word) {
        return convert_words<T>(weight + row * width + word * PER_WORD<T>);
      },
      rows, columns, packed);
}
// The same for the gradient of x, which is that of the output times W: `words` of it.
template <class T>
void pack_for_gradient(const float* weight, int rows, Range words, Packed& packed) {
  const size_t width = packed.columns;
  pack<T>([&](int row, int column) { return load(weight + row * width + column); }, rows,
          {0, packed.columns}, words, packed);
}

// The left operand of a product that sums over tokens: aᵀ, (columns, depth words), in panels of
// TILE_ROWS rows of the product. Their distance is no power of two, or all would fall in the same
// sets of the cache.
struct PackedLeft {
  static constexpr int PAD = 136;  // words of a panel
  Word* words = nullptr;
  int depth = 0, columns = 0;

  size_t size() const { return static_cast<size_t>(depth + PAD) * columns; }
  Word* panel(int column) const { return words + static_cast<size_t>(column) * (depth + PAD); }
};

template <class T, class Read>
void pack_left(Read read, int rows, Range words, PackedLeft& packed) {
  for (int word = words.begin; word < words.end; ++word)
    for (int column = 0; column < packed.columns; column += LANES) {
      const Words joined = join_rows<T>(read, rows, word, column);
      auto place = [&](int panel) {
        return packed.panel(panel) + static_cast<size_t>(word) * TILE_ROWS;
      };
      store_halves(place(column), place(column + TILE_ROWS), joined);
    }
}

}  // namespace bert
