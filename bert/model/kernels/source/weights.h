// The weights of dense layers in the order in which products read them.
#pragma once

#include <cstring>
#include <vector>

#include "encoder.h"
#include "memory.h"
#include "packing.h"

namespace bert {

constexpr int MATRICES[] = {QUERY, KEY, VALUE, PROJECTION, HIDDEN, OUT};

// Whether a parameter is still the one that was packed. MXNet's version number tells when it was
// written; a few of its numbers tell when another one got its memory, with the same version.
class Stamp {
 public:
  // Takes the new ones over; returns whether they differ.
  bool renew(const Parameter& parameter, size_t size) {
    float sample[SPOTS * LANES];
    for (size_t i = 0; i < SPOTS; ++i)
      std::memcpy(sample + i * LANES, parameter.values + (size - LANES) * i / (SPOTS - 1),
                  LANES * sizeof(float));
    const bool same = values_ == parameter.values && version_ == parameter.version &&
                      std::memcmp(sample_, sample, sizeof sample) == 0;
    values_ = parameter.values;
    version_ = parameter.version;
    std::memcpy(sample_, sample, sizeof sample);
    return !same;
  }

 private:
  static constexpr size_t SPOTS = 4;
  const float* values_ = nullptr;
  size_t version_ = 0;
  float sample_[SPOTS * LANES] = {};
};

// All matrices of all layers, in one direction: for y = x Wᵀ, or for the gradient of x, which is
// that of y times W.
template <class T>
class PackedWeights {
 public:
  explicit PackedWeights(bool is_backward) : is_backward_(is_backward) {}

  const Packed& operator()(int layer, LayerParameter parameter) const {
    return packed_[place_of(layer, parameter)];
  }

  // Pack what has changed since the last time.
  void refresh(const Sizes& sizes, const std::vector<Parameter>& parameters, int threads) {
    if (!arena_.is_open()) reserve(sizes);
    std::vector<int> stale;
    for (int layer = 0; layer < sizes.num_layers; ++layer)
      for (int matrix : MATRICES) {
        const int place = place_of(layer, matrix);
        const auto shape = shape_of(sizes, place);
        if (stamps_[place].renew(parameters[place], static_cast<size_t>(shape.first) * shape.second))
          stale.push_back(place);
      }
    const int count = static_cast<int>(stale.size());
#pragma omp parallel for num_threads(threads) schedule(dynamic) if (count)
    for (int i = 0; i < count; ++i)
      pack_matrix(parameters[stale[i]].values, shape_of(sizes, stale[i]), packed_[stale[i]]);
  }

 private:
  void reserve(const Sizes& sizes) {
    stamps_.resize(number_of_parameters(sizes));
    packed_.resize(number_of_parameters(sizes));
    arena_.arrange([&](Arena& arena) {
      for (int layer = 0; layer < sizes.num_layers; ++layer)
        for (int matrix : MATRICES) {
          Packed& packed = packed_[place_of(layer, matrix)];
          const auto shape = shape_of(sizes, place_of(layer, matrix));
          packed.depth = (is_backward_ ? shape.first : shape.second) / PER_WORD<T>;
          packed.columns = is_backward_ ? shape.second : shape.first;
          arena.give(packed.words, packed.size());
        }
    });
  }

  void pack_matrix(const float* weight, std::pair<int, int> shape, Packed& packed) {
    const int rows = shape.first;
    const size_t stride = shape.second;
    if (is_backward_)
      pack<T>([&](int row, int column) { return load(weight + row * stride + column); }, rows,
              {0, packed.columns}, {0, packed.depth}, packed);
    else
      pack_transposed(
          [&](int row, int word) {
            return convert_words<T>(weight + row * stride + word * PER_WORD<T>);
          },
          rows, {0, packed.columns}, packed);
  }

  bool is_backward_;
  std::vector<Stamp> stamps_;
  std::vector<Packed> packed_;
  Arena arena_;
};

}  // namespace bert
