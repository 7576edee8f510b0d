// Arithmetic on 16 numbers at a time, by AVX-512.
//
// Two types of numbers are computed with: float and Bfloat16. Products take operands of either and
// add in float32; all that is done element by element is done in float32.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace bert {

constexpr int LANES = 16;
constexpr float LOG2_E = 1.44269504f;

using Vector = __m512;
using Mask = __mmask16;

// The upper half of a float32.
struct Bfloat16 {
  uint16_t bits;
};

// A whole number from -127 to 127. Of the left operand of a product it stands for 128 more.
struct Int8 {
  int8_t number;
};

// What products multiply: a float32, or two bfloat16 or four int8 that are neighbours along the sum.
using Word __attribute__((may_alias)) = uint32_t;
template <class T>
constexpr int PER_WORD = sizeof(Word) / sizeof(T);

inline Vector spread(float x) { return _mm512_set1_ps(x); }
inline Mask first_lanes(int count) { return count >= LANES ? 0xffff : (1u << count) - 1; }

inline Vector load(const float* from) { return _mm512_loadu_ps(from); }
inline void store(float* to, Vector x) { _mm512_storeu_ps(to, x); }

inline Vector widen(__m256i bits) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}
inline Vector load(const Bfloat16* from) {
  return widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}
inline void store(Bfloat16* to, Vector x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), (__m256i)_mm512_cvtneps_pbh(x));
}

// sum + a · b in each lane, of words of T.
template <class T>
inline Vector multiply_add(Vector sum, Vector a, Vector b);
template <>
inline Vector multiply_add<float>(Vector sum, Vector a, Vector b) {
  return _mm512_fmadd_ps(a, b, sum);
}
template <>
inline Vector multiply_add<Bfloat16>(Vector sum, Vector a, Vector b) {
  return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
}
// The sums are whole numbers then, in the same registers.
template <>
inline Vector multiply_add<Int8>(Vector sum, Vector a, Vector b) {
  return _mm512_castsi512_ps(_mm512_dpbusd_epi32(_mm512_castps_si512(sum), _mm512_castps_si512(a),
                                                 _mm512_castps_si512(b)));
}

// 16 words, lane by lane: of `first` alone, or of `first` and `second`, which comes after it.
template <class T>
inline __m512i join(Vector first, Vector second);
template <>
inline __m512i join<float>(Vector first, Vector) {
  return _mm512_castps_si512(first);
}
template <>
inline __m512i join<Bfloat16>(Vector first, Vector second) {
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24,
                                         8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return _mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(second, first));
}

// 16 words of neighbouring numbers.
template <class T>
inline __m512i read_words(const T* from) {
  return _mm512_loadu_si512(from);
}
template <class T>
inline __m512i convert_words(const float* from);
template <>
inline __m512i convert_words<float>(const float* from) {
  return _mm512_loadu_si512(from);
}
template <>
inline __m512i convert_words<Bfloat16>(const float* from) {
  return (__m512i)_mm512_cvtne2ps_pbh(load(from + LANES), load(from));
}

// 2^x to 2e-7, relative, for x up to 127; 0 for x below -126. The polynomial has the least largest
// error on [-1/2, 1/2] (tests/model/kernels/fit_constants.py).
inline Vector exp2(Vector x) {
  const Vector whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const Vector part = _mm512_sub_ps(x, whole);
  Vector sum = spread(1.32956775e-3f);
  for (float coefficient :
       {9.67360261e-3f, 5.55071299e-2f, 0.240221878f, 0.693146893f, 1.00000004f})
    sum = _mm512_fmadd_ps(sum, part, spread(coefficient));
  return _mm512_maskz_scalef_ps(_mm512_cmp_ps_mask(x, spread(-126.f), _CMP_GE_OQ), sum, whole);
}

// The share of the normal distribution below x, to 2e-7: 1/2 + x P(x²) / Q(x²), of least largest
// error (tests/model/kernels/fit_constants.py) on the x that it is bounded to.
inline Vector normal_share(Vector all) {
  const Vector x = _mm512_min_ps(_mm512_max_ps(all, spread(-5.3f)), spread(5.3f));
  const Vector square = _mm512_mul_ps(x, x);
  Vector above = spread(2.31534959e-8f), below = spread(1.22603774e-6f);
  for (float coefficient :
       {6.57562167e-6f, 1.78006464e-4f, 4.73319588e-3f, 3.4581261e-2f, 0.398942163f})
    above = _mm512_fmadd_ps(above, square, spread(coefficient));
  for (float coefficient : {7.74635289e-5f, 1.93466373e-3f, 2.90925998e-2f, 0.253346856f, 1.f})
    below = _mm512_fmadd_ps(below, square, spread(coefficient));
  const Vector share = _mm512_fmadd_ps(x, _mm512_div_ps(above, below), spread(0.5f));
  // beyond, 0 and 1: gelu multiplies by numbers as large as one likes
  const Mask is_small = _mm512_cmp_ps_mask(all, x, _CMP_LT_OQ);
  const Mask is_large = _mm512_cmp_ps_mask(all, x, _CMP_GT_OQ);
  return _mm512_mask_mov_ps(_mm512_maskz_mov_ps(~is_small, share), is_large, spread(1));
}

// Hendrycks & Gimpel 2016, arXiv:1606.08415, the exact form.
inline Vector gelu(Vector x) { return _mm512_mul_ps(x, normal_share(x)); }

inline Vector gelu_slope(Vector x) {
  const Vector density = _mm512_mul_ps(
      spread(0.3989422804f), exp2(_mm512_mul_ps(_mm512_mul_ps(x, x), spread(-0.5f * LOG2_E))));
  return _mm512_fmadd_ps(x, density, normal_share(x));
}

}  // namespace bert
