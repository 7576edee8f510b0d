// Eight numbers at a time, by AVX2 with FMA: what vectors_avx512.h has, and explains, for
// float32 alone.
#pragma once

#include <immintrin.h>

#include "numbers.h"

namespace bert {

constexpr int LANES = 8;

using Vector = __m256;
using Mask = __m256i;  // all bits of a lane, or none
using Words = __m256i;

inline Vector spread(float x) { return _mm256_set1_ps(x); }
inline Vector load(const float* from) { return _mm256_loadu_ps(from); }
inline void store(float* to, Vector x) { _mm256_storeu_ps(to, x); }
inline Vector load(Mask lanes, const float* from) { return _mm256_maskload_ps(from, lanes); }
inline void store(Mask lanes, float* to, Vector x) { _mm256_maskstore_ps(to, lanes, x); }

inline Vector fmadd(Vector a, Vector b, Vector c) { return _mm256_fmadd_ps(a, b, c); }
inline Vector fnmadd(Vector a, Vector b, Vector c) { return _mm256_fnmadd_ps(a, b, c); }
inline Vector min(Vector a, Vector b) { return _mm256_min_ps(a, b); }
inline Vector max(Vector a, Vector b) { return _mm256_max_ps(a, b); }
inline Vector sqrt(Vector x) { return _mm256_sqrt_ps(x); }
inline Vector round(Vector x) {
  return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
inline Vector scale_by_power(Vector x, Vector whole) {
  constexpr int BIAS = 127, DIGITS = 23;  // of the exponent, and bits below it
  const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(whole), _mm256_set1_epi32(BIAS));
  return x * _mm256_castsi256_ps(_mm256_slli_epi32(exponent, DIGITS));
}
inline float sum_of(Vector x) {
  __m128 sum = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
  return _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));
}
inline float largest_of(Vector x) {
  __m128 most = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  most = _mm_max_ps(most, _mm_movehl_ps(most, most));
  return _mm_cvtss_f32(_mm_max_ss(most, _mm_movehdup_ps(most)));
}

inline Mask first_lanes(int count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
inline Mask all_lanes() { return _mm256_set1_epi32(-1); }
inline Mask is_less(Vector a, Vector b) {
  return _mm256_castps_si256(_mm256_cmp_ps(a, b, _CMP_LT_OQ));
}
inline Vector where(Mask lanes, Vector x) { return _mm256_and_ps(_mm256_castsi256_ps(lanes), x); }
inline Vector where(Mask lanes, Vector x, Vector other) {
  return _mm256_blendv_ps(other, x, _mm256_castsi256_ps(lanes));
}

constexpr int SHORTS = 8;
inline Mask not_below(const __m128i numbers[LANES / SHORTS], uint16_t bound) {
  const __m128i most = _mm_max_epu16(numbers[0], _mm_set1_epi16(static_cast<short>(bound)));
  return _mm256_cvtepi16_epi32(_mm_cmpeq_epi16(most, numbers[0]));
}

// ---- words

inline Words zero_words() { return _mm256_setzero_si256(); }
inline Words load_words(const void* from) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(from));
}
inline void store_words(Word* to, Words words) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), words);
}
inline void store_halves(Word* low, Word* high, Words words) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(low), _mm256_castsi256_si128(words));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(high), _mm256_extracti128_si256(words, 1));
}
inline Vector spread_word(Word word) { return _mm256_castsi256_ps(_mm256_set1_epi32(word)); }
inline Vector load_operand(const Word* from) { return _mm256_castsi256_ps(load_words(from)); }

inline Words as_words(Vector x) { return _mm256_castps_si256(x); }

// Transposes a square of 8 x 8 words.
inline void transpose(Words rows[LANES]) {
  Words other[LANES];
  for (int i = 0; i < LANES; i += 2) {
    other[i] = _mm256_unpacklo_epi32(rows[i], rows[i + 1]);
    other[i + 1] = _mm256_unpackhi_epi32(rows[i], rows[i + 1]);
  }
  for (int i = 0; i < LANES; i += 4) {
    rows[i] = _mm256_unpacklo_epi64(other[i], other[i + 2]);
    rows[i + 1] = _mm256_unpackhi_epi64(other[i], other[i + 2]);
    rows[i + 2] = _mm256_unpacklo_epi64(other[i + 1], other[i + 3]);
    rows[i + 3] = _mm256_unpackhi_epi64(other[i + 1], other[i + 3]);
  }
  // Now rows[4 i + j] holds, for each half h, column 4 h + j of rows 4 i to 4 i + 3.
  constexpr int LOW = 0x20, HIGH = 0x31;  // the low or the high halves of both operands
  for (int j = 0; j < 4; ++j) {
    other[j] = _mm256_permute2x128_si256(rows[j], rows[4 + j], LOW);
    other[4 + j] = _mm256_permute2x128_si256(rows[j], rows[4 + j], HIGH);
  }
  for (int i = 0; i < LANES; ++i) rows[i] = other[i];
}

}  // namespace bert
