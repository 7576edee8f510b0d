// One dense layer and its gradients: what scores every word of the vocabulary for a masked token.
#pragma once

#include <string>

namespace bert {

struct Dense {
  const float *input, *weight, *bias;  // (rows, in_width), (out_width, in_width), (out_width,)
  int rows, in_width, out_width;       // in_width: a multiple of 32
  int threads;
};

// What is written; `add`: to what stands there.
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
