// Arithmetic on several numbers at a time: LANES of them, as many as a register holds of the CPU
// that the library is built for.
#pragma once

#ifdef __AVX512F__
#include "vectors_avx512.h"
#else
#include "vectors_avx2.h"
#endif

namespace bert {

// sum + a · b in each lane, where the lanes of a and b are words of T.
template <class T>
inline Vector multiply_add(Vector sum, Vector a, Vector b);
// LANES words, lane by lane: of `first` alone where a word holds one number, or of `first` and
// `second`, which comes after it.
template <class T>
inline Words interleave(Vector first, Vector second);
// LANES words of neighbouring numbers.
template <class T>
inline Words convert_words(const float* from);

template <>
inline Vector multiply_add<float>(Vector sum, Vector a, Vector b) {
  return fmadd(a, b, sum);
}
template <>
inline Words interleave<float>(Vector first, Vector) {
  return as_words(first);
}
template <>
inline Words convert_words<float>(const float* from) {
  return load_words(from);
}

constexpr float LOG2_E = 1.44269504f;

// 2^x with a relative error of 2e-7, for x up to 127; 0 for x below -126. The polynomial is the one
// of least largest error on [-1/2, 1/2] (tests/model/kernels/fit_constants.py).
inline Vector exp2(Vector x) {
  const Vector whole = round(x), fraction = x - whole;
  Vector sum = spread(1.32956775e-3f);
  for (float coefficient :
       {9.67360261e-3f, 5.55071299e-2f, 0.240221878f, 0.693146893f, 1.00000004f})
    sum = fmadd(sum, fraction, spread(coefficient));
  return where(is_less(x, spread(-126)), spread(0), scale_by_power(sum, whole));
}

// The cumulative distribution function of the normal distribution, with an error of 2e-7:
// 1/2 + x P(x²) / Q(x²), the fraction of least largest error (tests/model/kernels/fit_constants.py)
// for arguments within the bound.
inline Vector normal_cdf(Vector argument) {
  const Vector x = min(max(argument, spread(-5.3f)), spread(5.3f));
  const Vector square = x * x;
  Vector numerator = spread(2.31534959e-8f), denominator = spread(1.22603774e-6f);
  for (float coefficient :
       {6.57562167e-6f, 1.78006464e-4f, 4.73319588e-3f, 3.4581261e-2f, 0.398942163f})
    numerator = fmadd(numerator, square, spread(coefficient));
  for (float coefficient : {7.74635289e-5f, 1.93466373e-3f, 2.90925998e-2f, 0.253346856f, 1.f})
    denominator = fmadd(denominator, square, spread(coefficient));
  const Vector share = fmadd(x, numerator / denominator, spread(0.5f));
  // Beyond the bound exactly 0 and 1: gelu multiplies the result by numbers of any size.
  return where(is_less(x, argument), spread(1), where(is_less(argument, x), spread(0), share));
}

// 2^x for softmax, as exact as T is. x is 0 at most, or little more.
template <class T>
inline Vector softmax_exp2(Vector x) {
  return exp2(x);
}

// GELU (Hendrycks & Gimpel 2016, arXiv:1606.08415) in its exact form, as exact as T is.
template <class T>
inline Vector gelu(Vector x) {
  return x * normal_cdf(x);
}

template <class T>
inline Vector gelu_gradient(Vector x) {
  const Vector density = spread(0.3989422804f) * exp2(x * x * spread(-0.5f * LOG2_E));
  return fmadd(x, density, normal_cdf(x));
}

}  // namespace bert

#include "vectors_int8.h"
#ifdef __AVX512BF16__
#include "vectors_bfloat16.h"
#endif
