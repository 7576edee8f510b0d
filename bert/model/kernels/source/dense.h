// One dense layer and its gradients: what scores every word of the vocabulary for masked tokens.
// Made for many rows, and for weights that have changed: they are packed in every pass.
#pragma once

#include <string>

namespace bert {

struct Dense {
  const float *input, *weight, *bias;  // (rows, in_width), (out_width, in_width), (out_width,)
  int rows, in_width, out_width;       // in_width: a multiple of 32
  int threads;
};

// Where a gradient goes; add: to what stands there, which it replaces otherwise.
struct Gradient {
  float* values;
  bool add;
};
struct DenseGradients {
  Gradient input, weight, bias;
};

// Throws for a type that the library has no products of.
void forward_dense(const std::string& dtype, const Dense& dense, float* output);
void backward_dense(const std::string& dtype, const Dense& dense, const float* output_gradient,
                    const DenseGradients& gradients);

}  // namespace bert
