// Operands of products in the order in which they are read.
#pragma once

#include <algorithm>

#include "team.h"
#include "vectors.h"

namespace bert {

constexpr int TILE_ROWS = 8;
constexpr int TILE_COLUMNS = 48;  // 8 x 3 vectors of sums, and 3 of b: 27 of the 32 registers

// Columns of the next panel when `left` are left: 48, and 32 where that leaves no panel of 16,
// which would keep the multipliers waiting for the sums before.
inline int panel_width(int left) {
  return left == 16 ? 16 : left == 32 || left == 64 ? 32 : TILE_COLUMNS;
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
// in each of them word after word. columns: a multiple of 16.
struct Packed {
  Word* words = nullptr;
  int depth = 0, columns = 0;

  size_t size() const { return static_cast<size_t>(depth) * columns; }
  // The first word of the panel that starts at `column`, `width` wide.
  Word* panel(int column) const { return words + static_cast<size_t>(column) * depth; }
};

// Rows and columns of a square of 16 x 16 words change places.
inline void transpose(__m512i rows[LANES]) {
  __m512i other[LANES];
  for (int i = 0; i < LANES; i += 2) {
    other[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
    other[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
  }
  for (int i = 0; i < LANES; i += 4) {
    rows[i] = _mm512_unpacklo_epi64(other[i], other[i + 2]);
    rows[i + 1] = _mm512_unpackhi_epi64(other[i], other[i + 2]);
    rows[i + 2] = _mm512_unpacklo_epi64(other[i + 1], other[i + 3]);
    rows[i + 3] = _mm512_unpackhi_epi64(other[i + 1], other[i + 3]);
  }
  // Now rows[4 i + j] holds, for each quarter q, column 4 q + j of rows 4 i to 4 i + 3.
  constexpr int EVEN = 0x88, ODD = 0xdd;  // quarters 0 and 2, 1 and 3, of both operands
  for (int j = 0; j < 4; ++j) {
    const __m512i upper_even = _mm512_shuffle_i32x4(rows[j], rows[4 + j], EVEN);
    const __m512i upper_odd = _mm512_shuffle_i32x4(rows[j], rows[4 + j], ODD);
    const __m512i lower_even = _mm512_shuffle_i32x4(rows[8 + j], rows[12 + j], EVEN);
    const __m512i lower_odd = _mm512_shuffle_i32x4(rows[8 + j], rows[12 + j], ODD);
    other[j] = _mm512_shuffle_i32x4(upper_even, lower_even, EVEN);
    other[4 + j] = _mm512_shuffle_i32x4(upper_odd, lower_odd, EVEN);
    other[8 + j] = _mm512_shuffle_i32x4(upper_even, lower_even, ODD);
    other[12 + j] = _mm512_shuffle_i32x4(upper_odd, lower_odd, ODD);
  }
  for (int i = 0; i < LANES; ++i) rows[i] = other[i];
}

// b = sourceᵀ: column n is row n of `source`, of which `read(row, word)` gives 16 words. Columns
// behind `rows` are zeros. depth: a multiple of 16.
template <class Read>
void pack_transposed(Read read, int rows, Range columns, Packed& packed) {
  for (int start = columns.begin; start < columns.end;) {
    const int width = panel_width(packed.columns - start);
    Word* panel = packed.panel(start);
    for (int n = 0; n < width; n += LANES)
      for (int word = 0; word < packed.depth; word += LANES) {
        __m512i square[LANES];
        for (int i = 0; i < LANES; ++i)
          square[i] = start + n + i < rows ? read(start + n + i, word) : _mm512_setzero_si512();
        transpose(square);
        for (int i = 0; i < LANES; ++i)
          _mm512_storeu_si512(panel + static_cast<size_t>(word + i) * width + n, square[i]);
      }
    start += width;
  }
}

// Word `word` of columns `column` to `column` + 15 of a matrix whose `read(row, column)` gives 16
// numbers of a row. Rows behind `rows` are zeros.
template <class T, class Read>
inline __m512i join_rows(Read& read, int rows, int word, int column) {
  const int row = word * PER_WORD<T>;
  const Vector first = row < rows ? read(row, column) : spread(0);
  const Vector second = PER_WORD<T> > 1 && row + 1 < rows ? read(row + 1, column) : spread(0);
  return join<T>(first, second);
}

// b = source. `read`, `rows`: as for `join_rows`.
template <class T, class Read>
void pack(Read read, int rows, Range columns, Range words, Packed& packed) {
  for (int start = columns.begin; start < columns.end;) {
    const int width = panel_width(packed.columns - start);
    Word* panel = packed.panel(start);
    for (int word = words.begin; word < words.end; ++word)
      for (int n = 0; n < width; n += LANES)
        _mm512_storeu_si512(panel + static_cast<size_t>(word) * width + n,
                            join_rows<T>(read, rows, word, start + n));
    start += width;
  }
}

// The left operand of a product that sums over tokens: aᵀ, (columns, depth words), in panels of
// eight rows of the product. Their distance is no power of two, or all would fall in the same sets
// of the cache.
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
      const __m512i joined = join_rows<T>(read, rows, word, column);
      auto place = [&](int panel) {
        return reinterpret_cast<__m256i*>(packed.panel(panel) +
                                          static_cast<size_t>(word) * TILE_ROWS);
      };
      _mm256_storeu_si256(place(column), _mm512_castsi512_si256(joined));
      _mm256_storeu_si256(place(column + TILE_ROWS), _mm512_extracti64x4_epi64(joined, 1));
    }
}

}  // namespace bert
