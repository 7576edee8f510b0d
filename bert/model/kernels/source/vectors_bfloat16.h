// What vectors.h has for float32, for products of bfloat16 by AVX-512.
#pragma once

namespace bert {

inline Vector load(const Bfloat16* from) {
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}
inline void store(Bfloat16* to, Vector x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), (__m256i)_mm512_cvtneps_pbh(x));
}
template <>
inline Vector multiply_add<Bfloat16>(Vector sum, Vector a, Vector b) {
  return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
}
template <>
inline Words join<Bfloat16>(Vector first, Vector second) {
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24,
                                         8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return _mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(second, first));
}
template <>
inline Words convert_words<Bfloat16>(const float* from) {
  return (__m512i)_mm512_cvtne2ps_pbh(load(from + LANES), load(from));
}

}  // namespace bert
