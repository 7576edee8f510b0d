// The product that product_limit.cc and onednn_products.cc time.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <vector>

// The feed-forward product of BERT base in a batch of 32 x 128.
constexpr int ROWS = 4096, DEPTH = 768, COLUMNS = 3072;
constexpr uint32_t OPERAND = 0x3f803f80;  // about 1 in float32, 1 twice in bfloat16

// Gop/s of `multiply()`: the median of `times` calls, after one for warm-up. A multiplication and
// an addition count as two operations.
template <class Multiply>
inline double measure(int times, Multiply multiply) {
  std::vector<double> rates;
  multiply();
  for (int time = 0; time < times; ++time) {
    const auto started = std::chrono::steady_clock::now();
    multiply();
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - started;
    rates.push_back(2e-9 * ROWS * DEPTH * COLUMNS / seconds.count());
  }
  std::sort(rates.begin(), rates.end());
  return rates[rates.size() / 2];
}
