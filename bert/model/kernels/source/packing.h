// Operands of products, packed into panels: in the order in which the micro-kernel reads them.
#pragma once

#include <algorithm>

#include "matrix.h"
#include "team.h"
#include "vectors.h"

namespace bert {

// The tile of sums that a micro-kernel keeps in registers: MR rows of 3 vectors. Beside the sums it
// needs 3 vectors of b and one of a: with AVX-512 and 8 rows 28 of the 32 registers, with AVX2 and
// 4 rows all 16.
constexpr int MR = LANES / 2;
constexpr int NR = 3 * LANES;

// The width of the next panel when `remaining` columns remain: NR, which is 3 vectors, but 2
// vectors where that avoids a panel of one. One vector of sums would keep the multipliers waiting
// for the sums before.
inline int panel_width(int remaining) {
  const int vectors = remaining / LANES;
  return vectors == 1 ? LANES : vectors == 2 || vectors == 4 ? 2 * LANES : NR;
}

// This thread's share of the columns: whole panels.
inline Range share_columns(const Team& team, int columns) {
  auto panel_start = [columns](long lower_bound) {
    int column = 0;
    while (column < lower_bound) column += panel_width(columns - column);
    return column;
  };
  return {panel_start(static_cast<long>(columns) * team.rank / team.size),
          panel_start(static_cast<long>(columns) * (team.rank + 1) / team.size)};
}

// The right operand b of a product, (depth words, columns): panels of NR columns or fewer (see
// `panel_width`), one after the other. A panel holds the first word of all its columns, then the
// second, and so on. columns: a multiple of LANES.
struct PackedB {
  Word* words = nullptr;
  int depth = 0, columns = 0;

  size_t size() const { return static_cast<size_t>(depth) * columns; }
  // The panel that starts at `column`.
  Word* panel(int column) const { return words + static_cast<size_t>(column) * depth; }
  // A panel of `width` columns from a word on.
  Word* panel(int column, int width, int word) const {
    return panel(column) + static_cast<size_t>(word) * width;
  }
};

// b = sourceᵀ: column n of b is row n of the source, of which `read(row, word)` gives LANES words.
// Columns from `rows` on are zero. depth: a multiple of LANES.
template <class Read>
void pack_b_transposed(Read read, int rows, Range columns, PackedB& b) {
  for (int start = columns.begin; start < columns.end;) {
    const int width = panel_width(b.columns - start);
    for (int n = 0; n < width; n += LANES)
      for (int word = 0; word < b.depth; word += LANES) {
        Words square[LANES];
        for (int i = 0; i < LANES; ++i)
          square[i] = start + n + i < rows ? read(start + n + i, word) : zero_words();
        transpose(square);
        for (int i = 0; i < LANES; ++i) store_words(b.panel(start, width, word + i) + n, square[i]);
      }
    start += width;
  }
}

// Word `word` of LANES columns from `column` on, when the rows of a matrix are interleaved: the
// numbers of a word come from PER_WORD rows. `read(row, column)` gives LANES numbers of a row. Rows
// from `rows` on are zero.
template <class T, class Read>
inline Words interleave_rows(Read& read, int rows, int word, int column) {
  const int row = word * PER_WORD<T>;
  const Vector first = row < rows ? read(row, column) : spread(0);
  const Vector second = PER_WORD<T> > 1 && row + 1 < rows ? read(row + 1, column) : spread(0);
  return interleave<T>(first, second);
}

// b = source: `words` of `columns`. `read`, `rows`: as in `interleave_rows`.
template <class T, class Read>
void pack_b(Read read, int rows, Range columns, Range words, PackedB& b) {
  for (int word = words.begin; word < words.end; ++word)
    for (int start = columns.begin; start < columns.end;) {
      const int width = panel_width(b.columns - start);
      Word* target = b.panel(start, width, word);
      for (int n = 0; n < width; n += LANES)
        store_words(target + n, interleave_rows<T>(read, rows, word, start + n));
      start += width;
    }
}

// The weight W (rows, width) of a dense layer for the forward pass, y = x Wᵀ: `columns` of y.
template <class T>
void pack_forward_weight(const float* weight, int rows, Range columns, PackedB& b) {
  const MatrixView<const float> source(weight, static_cast<size_t>(b.depth) * PER_WORD<T>);
  pack_b_transposed(
      [&](int row, int word) { return convert_words<T>(source.at(row, word * PER_WORD<T>)); }, rows,
      columns, b);
}
// The same for the backward pass, where the gradient of x is that of y times W: `words` of the
// rows.
template <class T>
void pack_backward_weight(const float* weight, int rows, Range words, PackedB& b) {
  const MatrixView<const float> source(weight, b.columns);
  pack_b<T>([&](int row, int column) { return load(source.at(row, column)); }, rows, {0, b.columns},
            words, b);
}

// The left operand of a product that sums over tokens: aᵀ, (columns, depth words), in panels of MR
// columns of a, which are rows of the product. PAD keeps the distance of two panels from being a
// power of two, with which all would fall into the same sets of the cache.
struct PackedA {
  static constexpr int PAD = 136;  // extra words for each column
  Word* words = nullptr;
  int depth = 0, columns = 0;

  size_t size() const { return static_cast<size_t>(depth + PAD) * columns; }
  // The panel that starts at `column`, a multiple of MR, from a word on.
  Word* panel(int column, int word) const {
    return words + static_cast<size_t>(column) * (depth + PAD) + static_cast<size_t>(word) * MR;
  }
};

// a = source: `words` of all columns. `read`, `rows`: as in `interleave_rows`.
template <class T, class Read>
void pack_a(Read read, int rows, Range words, PackedA& a) {
  for (int word = words.begin; word < words.end; ++word)
    for (int column = 0; column < a.columns; column += LANES)
      store_halves(a.panel(column, word), a.panel(column + MR, word),
                   interleave_rows<T>(read, rows, word, column));
}

}  // namespace bert
