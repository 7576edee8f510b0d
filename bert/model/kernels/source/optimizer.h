// One step of Adam and its relatives on all parameters at once, including the bound of the
// gradient's global norm.
#pragma once

#include <cstddef>
#include <vector>

namespace bert {

// A parameter, its state, and how fast it learns.
struct ParameterUpdate {
  float* weight;
  const float* gradient;
  float *mean, *variance;  // moving averages of the gradient and of its square
  size_t size;
  float rate;            // learning rate
  float decay;           // weight decay, decoupled: times the rate and the weight
  float gradient_decay;  // weight decay as L2 penalty: times the weight it is added to the gradient
};

// m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g²;
// w = w - rate (m / (√v + epsilon) + decay w)
struct Adam {
  double beta1 = 0, beta2 = 0;  // in float32, 1 - beta2 would be off by 1e-5
  float epsilon = 0;
  float max_norm = 0;  // of all gradients together; larger ones are scaled down to it
  // LAMB (You et al. 2019, arXiv:1904.00962) divides m and v by the corrections, and multiplies the
  // step by the trust ratio: |w|, within the bounds, over the norm of the step. An infinite upper
  // bound is none.
  bool is_lamb = false;
  float mean_correction = 1, variance_correction = 1;
  float lower_bound = 0, upper_bound = 0;
};

// Updates all parameters. Returns the global norm of the gradients, before it is bounded.
float update(const Adam& rule, const std::vector<ParameterUpdate>& parameters, int threads);

}  // namespace bert
