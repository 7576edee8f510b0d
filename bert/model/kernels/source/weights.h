// The weights of dense layers in the order in which products read them.
#pragma once

#include <cstring>
#include <vector>

#include "encoder.h"
#include "memory.h"
#include "products.h"

namespace bert {

constexpr int MATRICES[] = {QUERY, KEY, VALUE, PROJECTION, HIDDEN, OUT};

// A thread's tokens that stay in its cache, together with what is computed of them: 384 KiB of
// input for BERT base, of 1 MiB on the CPU this was tried on.
template <class T>
constexpr int GROUP_TOKENS = 128 * PER_WORD<T>;

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

// Those of all matrices.
class Stamps {
 public:
  // Calls `pack(place, numbers, shape)` for the matrices that have changed since the last time, of
  // those that `is_wanted(layer, matrix)`.
  template <class Wanted, class Pack>
  void refresh(const Sizes& sizes, const std::vector<Parameter>& parameters, int threads,
               Wanted is_wanted, Pack pack) {
    const std::vector<int> stale = find_stale(sizes, parameters, is_wanted);
    const int count = static_cast<int>(stale.size());
#pragma omp parallel for num_threads(threads) schedule(dynamic) if (count)
    for (int i = 0; i < count; ++i)
      pack(stale[i], parameters[stale[i]].values, shape_of(sizes, stale[i]));
  }

 private:
  template <class Wanted>
  std::vector<int> find_stale(const Sizes& sizes, const std::vector<Parameter>& parameters,
                              Wanted is_wanted) {
    stamps_.resize(number_of_parameters(sizes));
    std::vector<int> stale;
    for (int layer = 0; layer < sizes.num_layers; ++layer)
      for (int matrix : MATRICES) {
        const int place = place_of(layer, matrix);
        const auto shape = shape_of(sizes, place);
        if (!is_wanted(layer, matrix)) continue;
        if (stamps_[place].renew(parameters[place],
                                 static_cast<size_t>(shape.first) * shape.second))
          stale.push_back(place);
      }
    return stale;
  }

  std::vector<Stamp> stamps_;
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

  // What `multiply` by a matrix wants of (rows, width) numbers, `step` from a row to the next:
  // nothing has to be done to them.
  using Input = Left;
  struct Room {
    void reserve(Arena&, int, int) {}
  };
  Input take(int, LayerParameter, const T* numbers, size_t step, int, int, const Team&,
             const Room&) const {
    return rows_of(numbers, step);
  }

  // `finish(row, column, LANES sums)` of a product: rows of `input`, which are the `numbers` of
  // what the layer gets, with `columns` of what it gives.
  template <class Finish>
  void multiply(const Input& input, int rows, int layer, LayerParameter parameter, Range columns,
                Range numbers, Finish finish) const {
    bert::multiply<T>(input, rows, (*this)(layer, parameter), columns,
                      {numbers.begin / PER_WORD<T>, numbers.end / PER_WORD<T>}, finish);
  }

  // Pack what has changed since the last time, of what `is_wanted(layer, matrix)`.
  template <class Wanted>
  void refresh(const Sizes& sizes, const std::vector<Parameter>& parameters, int threads,
               Wanted is_wanted) {
    if (!arena_.is_open()) reserve(sizes);
    stamps_.refresh(sizes, parameters, threads, is_wanted,
                    [&](int place, const float* weight, std::pair<int, int> shape) {
                      pack_matrix(weight, shape, packed_[place]);
                    });
  }

 private:
  void reserve(const Sizes& sizes) {
    packed_.resize(number_of_parameters(sizes));
    arena_.arrange_lasting([&](Arena& arena) {
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
    if (is_backward_)
      pack_for_gradient<T>(weight, shape.first, {0, packed.depth}, packed);
    else
      pack_for_output<T>(weight, shape.first, {0, packed.columns}, packed);
  }

  bool is_backward_;
  Stamps stamps_;
  std::vector<Packed> packed_;
  Arena arena_;
};

}  // namespace bert
