// The activations of the feed-forward block and their gradients, as exact as T is.
#pragma once

#include "encoder.h"
#include "vectors.h"

namespace bert {

template <class T>
struct Gelu {
  static Vector value(Vector x) { return gelu<T>(x); }
  static Vector gradient(Vector x) { return gelu_gradient<T>(x); }
};

// The form of GELU with tanh (Hendrycks & Gimpel 2016, arXiv:1606.08415), which is
// x · sigmoid(2 √(2/π) (x + 0.044715 x³)).
template <class T>
struct GeluNew {
  static Vector value(Vector x) { return x * share(x); }
  static Vector gradient(Vector x) {
    const Vector y = share(x), near = min(max(x, spread(-BOUND)), spread(BOUND));
    const Vector slope = spread(SLOPE) * fmadd(spread(3 * CUBE), near * near, spread(1));
    return fmadd(x * y * (spread(1) - y), slope, y);
  }

 private:
  static constexpr float SLOPE = 1.59576912f, CUBE = 0.044715f;  // 2 √(2/π)
  static constexpr float BOUND = 20;  // beyond it the sigmoid is exactly 0 or 1

  // The sigmoid. x may be of any size, and exp2 takes numbers up to 127: above 126 it is exactly 0.
  static Vector share(Vector x) {
    const Vector argument = spread(SLOPE) * x * fmadd(spread(CUBE), x * x, spread(1));
    const Vector power = argument * spread(-LOG2_E);
    return where(is_less(spread(126), power), spread(0),
                 spread(1) / (spread(1) + exp2(min(power, spread(126)))));
  }
};

template <class T>
struct Relu {
  static Vector value(Vector x) { return max(spread(0), x); }  // in this order, NaN stays NaN
  static Vector gradient(Vector x) { return where(is_less(spread(0), x), spread(1), spread(0)); }
};

// Calls use(activation) with one of the types above: the loop around the calls exists once for each
// of them, and does not ask which it is.
template <class T, class Use>
inline void with_activation(Activation activation, Use use) {
  switch (activation) {
    case Activation::GELU: return use(Gelu<T>());
    case Activation::GELU_NEW: return use(GeluNew<T>());
    case Activation::RELU: return use(Relu<T>());
  }
}

}  // namespace bert
