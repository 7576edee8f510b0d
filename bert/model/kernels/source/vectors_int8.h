// What vectors.h has for float32, for products of int8 by AVX-512 VNNI.
#pragma once

namespace bert {

// The sums are whole numbers then, in the same registers.
template <>
inline Vector multiply_add<Int8>(Vector sum, Vector a, Vector b) {
  return _mm512_castsi512_ps(_mm512_dpbusd_epi32(_mm512_castps_si512(sum), _mm512_castps_si512(a),
                                                 _mm512_castps_si512(b)));
}
inline Vector whole_numbers(Vector bits) { return _mm512_cvtepi32_ps(_mm512_castps_si512(bits)); }
// To the next whole numbers, from -127 to 127; with INT8_ZERO added, as left operands are.
inline void store(Int8* to, Vector x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(x)));
}
inline void store_left(Int8* to, Vector x) {
  const __m128i zero = _mm_set1_epi8(static_cast<char>(INT8_ZERO));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to),
                   _mm_xor_si128(_mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(x)), zero));
}

}  // namespace bert
