// What vectors.h has for float32, for products of int8: by AVX-512 VNNI, AVX-512 or AVX2.
#pragma once

namespace bert {

#ifdef __AVX512F__
inline Vector int32_to_float(Vector integers) { return _mm512_cvtepi32_ps(as_words(integers)); }
inline Vector as_vector(Words words) { return _mm512_castsi512_ps(words); }
inline Words max_int32(Words a, Words b) { return _mm512_max_epi32(a, b); }
inline Words magnitudes(const float* from) {
  return _mm512_and_si512(load_words(from), _mm512_set1_epi32(0x7fffffff));
}
#else
inline Vector int32_to_float(Vector integers) { return _mm256_cvtepi32_ps(as_words(integers)); }
inline Vector as_vector(Words words) { return _mm256_castsi256_ps(words); }
inline Words max_int32(Words a, Words b) { return _mm256_max_epi32(a, b); }
inline Words magnitudes(const float* from) {
  return _mm256_and_si256(load_words(from), _mm256_set1_epi32(0x7fffffff));
}
#endif

// The largest magnitudes of numbers, lane by lane. Without their signs the bits of numbers are
// ordered like integers, and infinity and NaN come above all numbers.
template <class T>
class LargestMagnitudes {
 public:
  void add(const T* from) { bits_ = max_int32(bits_, magnitudes(from)); }
  Vector value() const { return as_vector(bits_); }

 private:
  Words bits_ = zero_words();
};

// multiply_add: the lanes of the sum are integers of 32 bits.
// store, store_operand_a: round to the nearest integers; left operands get INT8_ZERO_POINT added.
#ifdef __AVX512VNNI__
template <>
inline Vector multiply_add<Int8>(Vector sum, Vector a, Vector b) {
  return as_vector(_mm512_dpbusd_epi32(as_words(sum), as_words(a), as_words(b)));
}
inline __m128i to_int8(Vector x) { return _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(x)); }
inline void store(Int8* to, Vector x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), to_int8(x));
}
inline void store_operand_a(Int8* to, Vector x) {
  const __m128i zero_point = _mm_set1_epi8(static_cast<char>(INT8_ZERO_POINT));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_xor_si128(to_int8(x), zero_point));
}
#elif defined(__AVX512F__)
template <>
inline Vector multiply_add<Int8>(Vector sum, Vector a, Vector b) {
  return as_vector(_mm512_add_epi32(as_words(sum), _mm512_madd_epi16(as_words(a), as_words(b))));
}
inline void store(Int8* to, Vector x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                      _mm512_cvtsepi32_epi16(_mm512_cvtps_epi32(x)));
}
inline void store_operand_a(Int8* to, Vector x) { store(to, x); }
#else
template <>
inline Vector multiply_add<Int8>(Vector sum, Vector a, Vector b) {
  return as_vector(_mm256_add_epi32(as_words(sum), _mm256_madd_epi16(as_words(a), as_words(b))));
}
inline void store(Int8* to, Vector x) {
  const Words whole = _mm256_cvtps_epi32(x);
  _mm_storeu_si128(
      reinterpret_cast<__m128i*>(to),
      _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1)));
}
inline void store_operand_a(Int8* to, Vector x) { store(to, x); }
#endif

}  // namespace bert
