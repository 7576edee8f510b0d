// Layer normalisation (Ba et al. 2016, arXiv:1607.06450) of rows, and its gradient.
#pragma once

#include <cmath>

#include "vectors.h"

namespace bert {

// (x - mean) / deviation of one row. `take(column, LANES numbers)` gets them.
// Returns 1 / deviation, which its gradient wants again.
template <class Take>
inline float normalize(const float* row, int width, float epsilon, Take take) {
  Vector sum = spread(0), squares = spread(0);
  for (int i = 0; i < width; i += LANES) sum = sum + load(row + i);
  const Vector mean = spread(sum_of(sum) / width);
  for (int i = 0; i < width; i += LANES) {
    const Vector x = load(row + i) - mean;
    squares = fmadd(x, x, squares);
  }
  const float inverse = 1 / std::sqrt(sum_of(squares) / width + epsilon);
  for (int i = 0; i < width; i += LANES) take(i, (load(row + i) - mean) * spread(inverse));
  return inverse;
}

inline Vector scale_and_shift(Vector normal, const float* gamma, const float* beta, int column) {
  return fmadd(normal, load(gamma + column), load(beta + column));
}

inline void add_to(float* sums, Vector x) { store(sums, load(sums) + x); }

// The gradient of one row: from that of gamma · normal + beta, in `gradient`, to that of what was
// normalised, in its place. Adds to the gradients of gamma and beta.
template <class T>
inline void normalize_backward(float* gradient, int width, const T* normal, float inverse,
                               const float* gamma, float* gamma_sum, float* beta_sum) {
  Vector sum = spread(0), weighted = spread(0);
  for (int i = 0; i < width; i += LANES) {
    const Vector outer = load(gradient + i), x = load(normal + i);
    const Vector inner = outer * load(gamma + i);
    sum = sum + inner;
    weighted = fmadd(inner, x, weighted);
    store(gamma_sum + i, fmadd(outer, x, load(gamma_sum + i)));
    add_to(beta_sum + i, outer);
  }
  const Vector mean = spread(sum_of(sum) / width);
  const Vector slope = spread(sum_of(weighted) / width);
  for (int i = 0; i < width; i += LANES) {
    const Vector inner = load(gradient + i) * load(gamma + i);
    const Vector rest = fmadd(load(normal + i), slope, mean);
    store(gradient + i, spread(inverse) * (inner - rest));
  }
}

}  // namespace bert
