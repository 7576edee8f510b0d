// Layer normalisation (Ba et al. 2016, arXiv:1607.06450) of a row, and its gradient.
#pragma once

#include <cmath>

#include "vectors.h"

namespace bert {

// Hands (x - mean) / deviation of a row to `epilogue(column, LANES numbers)`. Returns 1 /
// deviation, which the gradient needs again.
template <class Epilogue>
inline float normalize(const float* row, int width, float epsilon, Epilogue epilogue) {
  Vector sum = spread(0), squares = spread(0);
  for (int i = 0; i < width; i += LANES) sum = sum + load(row + i);
  const Vector mean = spread(sum_of(sum) / width);
  for (int i = 0; i < width; i += LANES) {
    const Vector x = load(row + i) - mean;
    squares = fmadd(x, x, squares);
  }
  const float inverse_std = 1 / std::sqrt(sum_of(squares) / width + epsilon);
  for (int i = 0; i < width; i += LANES) epilogue(i, (load(row + i) - mean) * spread(inverse_std));
  return inverse_std;
}

inline Vector scale_and_shift(Vector normal, const float* gamma, const float* beta, int column) {
  return fmadd(normal, load(gamma + column), load(beta + column));
}

inline void add_to(float* sums, Vector x) { store(sums, load(sums) + x); }

// The gradient of one row, in place: `gradient` holds that of gamma · normal + beta, and afterwards
// that of the row before its normalisation. Adds to the gradients of gamma and beta.
template <class T>
inline void normalize_backward(float* gradient, int width, const T* normal, float inverse_std,
                               const float* gamma, float* gamma_gradient, float* beta_gradient) {
  Vector sum = spread(0), product_sum = spread(0);
  for (int i = 0; i < width; i += LANES) {
    const Vector outer = load(gradient + i), x = load(normal + i);
    const Vector inner = outer * load(gamma + i);
    sum = sum + inner;
    product_sum = fmadd(inner, x, product_sum);
    store(gamma_gradient + i, fmadd(outer, x, load(gamma_gradient + i)));
    add_to(beta_gradient + i, outer);
  }
  const Vector mean = spread(sum_of(sum) / width);
  const Vector mean_product = spread(sum_of(product_sum) / width);
  for (int i = 0; i < width; i += LANES) {
    const Vector inner = load(gradient + i) * load(gamma + i);
    const Vector projection = fmadd(load(normal + i), mean_product, mean);
    store(gradient + i, spread(inverse_std) * (inner - projection));
  }
}

}  // namespace bert
