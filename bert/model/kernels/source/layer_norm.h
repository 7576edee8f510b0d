// Layer normalisation (Ba et al. 2016, arXiv:1607.06450) of rows, and its gradient.
#pragma once

#include <cmath>

#include "vectors.h"

namespace bert {

// (x - mean) / deviation of one row. `take(column, 16 numbers)` gets them.
// Returns 1 / deviation, which its gradient wants again.
template <class Take>
inline float normalize(const float* row, int width, float epsilon, Take take) {
  Vector sum = spread(0), squares = spread(0);
  for (int i = 0; i < width; i += LANES) sum = _mm512_add_ps(sum, load(row + i));
  const Vector mean = spread(_mm512_reduce_add_ps(sum) / width);
  for (int i = 0; i < width; i += LANES) {
    const Vector x = _mm512_sub_ps(load(row + i), mean);
    squares = _mm512_fmadd_ps(x, x, squares);
  }
  const float inverse = 1 / std::sqrt(_mm512_reduce_add_ps(squares) / width + epsilon);
  for (int i = 0; i < width; i += LANES)
    take(i, _mm512_mul_ps(_mm512_sub_ps(load(row + i), mean), spread(inverse)));
  return inverse;
}

inline Vector scale_and_shift(Vector normal, const float* gamma, const float* beta, int column) {
  return _mm512_fmadd_ps(normal, load(gamma + column), load(beta + column));
}

inline void add_to(float* sums, Vector x) { store(sums, _mm512_add_ps(load(sums), x)); }

// The gradient of one row: from that of gamma · normal + beta, in `gradient`, to that of what was
// normalised, in its place. Adds to the gradients of gamma and beta.
template <class T>
inline void normalize_backward(float* gradient, int width, const T* normal, float inverse,
                               const float* gamma, float* gamma_sum, float* beta_sum) {
  Vector sum = spread(0), weighted = spread(0);
  for (int i = 0; i < width; i += LANES) {
    const Vector outer = load(gradient + i), x = load(normal + i);
    const Vector inner = _mm512_mul_ps(outer, load(gamma + i));
    sum = _mm512_add_ps(sum, inner);
    weighted = _mm512_fmadd_ps(inner, x, weighted);
    store(gamma_sum + i, _mm512_fmadd_ps(outer, x, load(gamma_sum + i)));
    add_to(beta_sum + i, outer);
  }
  const Vector mean = spread(_mm512_reduce_add_ps(sum) / width);
  const Vector slope = spread(_mm512_reduce_add_ps(weighted) / width);
  for (int i = 0; i < width; i += LANES) {
    const Vector inner = _mm512_mul_ps(load(gradient + i), load(gamma + i));
    const Vector rest = _mm512_fmadd_ps(load(normal + i), slope, mean);
    store(gradient + i, _mm512_mul_ps(spread(inverse), _mm512_sub_ps(inner, rest)));
  }
}

}  // namespace bert
