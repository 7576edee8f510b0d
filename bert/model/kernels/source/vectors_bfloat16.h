// What vectors.h has for float32, for products of bfloat16 by AVX-512.
#pragma once

namespace bert {

inline Vector widen(__m256i bits) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}
inline Vector load(const Bfloat16* from) {
  return widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}
inline void store(Bfloat16* to, Vector x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), (__m256i)_mm512_cvtneps_pbh(x));
}
template <>
class LargestMagnitudes<Bfloat16> {
 public:
  void add(const Bfloat16* from) {
    const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    bits_ = _mm256_max_epi16(bits_, _mm256_and_si256(bits, _mm256_set1_epi16(0x7fff)));
  }
  Vector value() const { return widen(bits_); }

 private:
  __m256i bits_ = _mm256_setzero_si256();
};
template <>
inline Vector multiply_add<Bfloat16>(Vector sum, Vector a, Vector b) {
  return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
}
template <>
inline Words interleave<Bfloat16>(Vector first, Vector second) {
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24,
                                         8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return _mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(second, first));
}
template <>
inline Words convert_words<Bfloat16>(const float* from) {
  return (__m512i)_mm512_cvtne2ps_pbh(load(from + LANES), load(from));
}

// The functions below are less exact than those for float32: their results are rounded to bfloat16,
// which changes numbers of about 1 by 2e-3. The polynomials are those of least largest error
// (tests/model/kernels/fit_constants.py).

// For GELU with an absolute error of 2e-4 (for |x| up to 200), and its gradient with one of 6e-4:
// 1/2 + x P(x²), beyond the bound 0 or 1.
inline Vector rough_normal_cdf(Vector argument) {
  const Vector x = min(max(argument, spread(-4.f)), spread(4.f)), square = x * x;
  Vector sum = spread(2.25881846e-8f);
  for (float coefficient : {-1.58882633e-6f, 4.77638846e-5f, -8.12187679e-4f, 8.76369382e-3f,
                            -6.45544248e-2f, 0.397870279f})
    sum = fmadd(sum, square, spread(coefficient));
  return fmadd(x, sum, spread(0.5f));
}
inline Vector rough_gelu_gradient(Vector argument) {
  const Vector x = min(max(argument, spread(-4.3f)), spread(4.3f)), square = x * x;
  Vector sum = spread(-9.88969606e-9f);
  for (float coefficient : {8.27673432e-7f, -2.93829209e-5f, 5.79837739e-4f, -7.00854961e-3f,
                            5.37487921e-2f, -0.259035448f, 0.795552489f})
    sum = fmadd(sum, square, spread(coefficient));
  return fmadd(x, sum, spread(0.5f));
}
// 2^x with a relative error of 8e-5, for finite x up to 127.
inline Vector rough_exp2(Vector x) {
  const Vector whole = round(x), fraction = x - whole;
  Vector sum = spread(5.51716674e-2f);
  for (float coefficient : {0.242611134f, 0.693260987f, 0.999928072f})
    sum = fmadd(sum, fraction, spread(coefficient));
  return scale_by_power(sum, whole);
}
template <>
inline Vector softmax_exp2<Bfloat16>(Vector x) {
  return rough_exp2(x);
}
template <>
inline Vector gelu<Bfloat16>(Vector x) {
  return x * rough_normal_cdf(x);
}
template <>
inline Vector gelu_gradient<Bfloat16>(Vector x) {
  return rough_gelu_gradient(x);
}

}  // namespace bert
