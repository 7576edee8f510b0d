// 16 numbers at a time, by AVX-512. The comments hold for the same functions of vectors_avx2.h.
#pragma once

#include <immintrin.h>

#include "numbers.h"

namespace bert {

constexpr int LANES = 16;

using Vector = __m512;   // of float32; + - * / are the compiler's
using Mask = __mmask16;  // some of the lanes
using Words = __m512i;   // LANES words

inline Vector spread(float x) { return _mm512_set1_ps(x); }
inline Vector load(const float* from) { return _mm512_loadu_ps(from); }
inline void store(float* to, Vector x) { _mm512_storeu_ps(to, x); }
// The same for the lanes of a mask alone: a load gives 0 in the other lanes, a store leaves the
// memory of the other lanes as it is.
inline Vector load(Mask lanes, const float* from) { return _mm512_maskz_loadu_ps(lanes, from); }
inline void store(Mask lanes, float* to, Vector x) { _mm512_mask_storeu_ps(to, lanes, x); }

// a b + c and c - a b, each rounded once
inline Vector fmadd(Vector a, Vector b, Vector c) { return _mm512_fmadd_ps(a, b, c); }
inline Vector fnmadd(Vector a, Vector b, Vector c) { return _mm512_fnmadd_ps(a, b, c); }
inline Vector min(Vector a, Vector b) { return _mm512_min_ps(a, b); }
inline Vector max(Vector a, Vector b) { return _mm512_max_ps(a, b); }
inline Vector sqrt(Vector x) { return _mm512_sqrt_ps(x); }
inline Vector round(Vector x) {
  return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
// x 2^whole, for integers from -126 to 127
inline Vector scale_by_power(Vector x, Vector whole) { return _mm512_scalef_ps(x, whole); }
inline float sum_of(Vector x) { return _mm512_reduce_add_ps(x); }
inline float largest_of(Vector x) { return _mm512_reduce_max_ps(x); }

inline Mask first_lanes(int count) { return count >= LANES ? 0xffff : (1u << count) - 1; }
inline Mask all_lanes() { return 0xffff; }
inline Mask is_less(Vector a, Vector b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
// x in the lanes of a mask, and `other` or 0 in the others
inline Vector where(Mask lanes, Vector x) { return _mm512_maskz_mov_ps(lanes, x); }
inline Vector where(Mask lanes, Vector x, Vector other) {
  return _mm512_mask_mov_ps(other, lanes, x);
}

// Which of LANES unsigned numbers of 16 bits, in two registers, are not below `bound`
constexpr int SHORTS = 8;  // of a register
inline Mask not_below(const __m128i numbers[LANES / SHORTS], uint16_t bound) {
  return _mm256_cmp_epu16_mask(_mm256_set_m128i(numbers[1], numbers[0]),
                               _mm256_set1_epi16(static_cast<short>(bound)), _MM_CMPINT_NLT);
}

// ---- words

inline Words zero_words() { return _mm512_setzero_si512(); }
inline Words load_words(const void* from) { return _mm512_loadu_si512(from); }
inline void store_words(Word* to, Words words) { _mm512_storeu_si512(to, words); }
inline void store_halves(Word* low, Word* high, Words words) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(low), _mm512_castsi512_si256(words));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(high), _mm512_extracti64x4_epi64(words, 1));
}
// Operands of `multiply_add`: one word in all lanes, and LANES words.
inline Vector spread_word(Word word) { return _mm512_castsi512_ps(_mm512_set1_epi32(word)); }
inline Vector load_operand(const Word* from) { return _mm512_castsi512_ps(load_words(from)); }

// The same bits as another type
inline Words as_words(Vector x) { return _mm512_castps_si512(x); }

// Transposes a square of 16 x 16 words.
inline void transpose(Words rows[LANES]) {
  Words other[LANES];
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
    const Words upper_even = _mm512_shuffle_i32x4(rows[j], rows[4 + j], EVEN);
    const Words upper_odd = _mm512_shuffle_i32x4(rows[j], rows[4 + j], ODD);
    const Words lower_even = _mm512_shuffle_i32x4(rows[8 + j], rows[12 + j], EVEN);
    const Words lower_odd = _mm512_shuffle_i32x4(rows[8 + j], rows[12 + j], ODD);
    other[j] = _mm512_shuffle_i32x4(upper_even, lower_even, EVEN);
    other[4 + j] = _mm512_shuffle_i32x4(upper_odd, lower_odd, EVEN);
    other[8 + j] = _mm512_shuffle_i32x4(upper_even, lower_even, ODD);
    other[12 + j] = _mm512_shuffle_i32x4(upper_odd, lower_odd, ODD);
  }
  for (int i = 0; i < LANES; ++i) rows[i] = other[i];
}

}  // namespace bert
