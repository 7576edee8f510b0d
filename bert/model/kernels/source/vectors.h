// Arithmetic on several numbers at a time: LANES of them, as many as the CPU's registers hold that
// the library is built for.
#pragma once

#ifdef __AVX512F__
#include "vectors_avx512.h"
#else
#include "vectors_avx2.h"
#endif

namespace bert {

// sum + a · b in each lane, of words of T.
template <class T>
inline Vector multiply_add(Vector sum, Vector a, Vector b);
// LANES words, lane by lane: of `first` alone, or of `first` and `second`, which comes after it.
template <class T>
inline Words join(Vector first, Vector second);
// LANES words of neighbouring numbers.
template <class T>
inline Words convert_words(const float* from);

template <>
inline Vector multiply_add<float>(Vector sum, Vector a, Vector b) {
  return fmadd(a, b, sum);
}
template <>
inline Words join<float>(Vector first, Vector) {
  return as_words(first);
}
template <>
inline Words convert_words<float>(const float* from) {
  return load_words(from);
}

constexpr float LOG2_E = 1.44269504f;

// 2^x to 2e-7, relative, for x up to 127; 0 for x below -126. The polynomial has the least largest
// error on [-1/2, 1/2] (tests/model/kernels/fit_constants.py).
inline Vector exp2(Vector x) {
  const Vector whole = round(x), part = x - whole;
  Vector sum = spread(1.32956775e-3f);
  for (float coefficient :
       {9.67360261e-3f, 5.55071299e-2f, 0.240221878f, 0.693146893f, 1.00000004f})
    sum = fmadd(sum, part, spread(coefficient));
  return where(is_less(x, spread(-126)), spread(0), scale_by_power(sum, whole));
}

// The share of the normal distribution below x, to 2e-7: 1/2 + x P(x²) / Q(x²), of least largest
// error (tests/model/kernels/fit_constants.py) on the x that it is bounded to.
inline Vector normal_share(Vector all) {
  const Vector x = min(max(all, spread(-5.3f)), spread(5.3f));
  const Vector square = x * x;
  Vector above = spread(2.31534959e-8f), below = spread(1.22603774e-6f);
  for (float coefficient :
       {6.57562167e-6f, 1.78006464e-4f, 4.73319588e-3f, 3.4581261e-2f, 0.398942163f})
    above = fmadd(above, square, spread(coefficient));
  for (float coefficient : {7.74635289e-5f, 1.93466373e-3f, 2.90925998e-2f, 0.253346856f, 1.f})
    below = fmadd(below, square, spread(coefficient));
  const Vector share = fmadd(x, above / below, spread(0.5f));
  // beyond, 0 and 1: gelu multiplies by numbers as large as one likes
  return where(is_less(x, all), spread(1), where(is_less(all, x), spread(0), share));
}

// 2^x for softmax, as exact as T is; x is 0 at most, or little more.
template <class T>
inline Vector weight_of(Vector x) {
  return exp2(x);
}

// Hendrycks & Gimpel 2016, arXiv:1606.08415, the exact form, as exact as T is.
template <class T>
inline Vector gelu(Vector x) {
  return x * normal_share(x);
}

template <class T>
inline Vector gelu_slope(Vector x) {
  const Vector density = spread(0.3989422804f) * exp2(x * x * spread(-0.5f * LOG2_E));
  return fmadd(x, density, normal_share(x));
}

}  // namespace bert

#include "vectors_int8.h"
#ifdef __AVX512BF16__
#include "vectors_bfloat16.h"
#endif
