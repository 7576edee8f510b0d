// One dense layer and its gradients: it scores every word of the vocabulary for masked tokens. Made
// for many rows and for weights that change between passes, so every pass packs them.
#pragma once

#include <string>

#include "gradient.h"

namespace bert {

struct Dense {
  const float *input, *weight, *bias;  // (rows, in_width), (out_width, in_width), (out_width,)
  int rows, in_width, out_width;       // in_width: a multiple of 32
  int threads;
};

struct DenseGradients {
  Gradient input, weight, bias;
};

// Both throw for a type that the library has no products of.
void forward_dense(const std::string& dtype, const Dense& dense, float* output);
void backward_dense(const std::string& dtype, const Dense& dense, const float* output_gradient,
                    const DenseGradients& gradients);

}  // namespace bert
