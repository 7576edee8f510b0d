// The weights of the dense layers, packed into panels and kept from call to call.
#pragma once

#include <cstring>
#include <vector>

#include "encoder.h"
#include "memory.h"
#include "products.h"

namespace bert {

// The weights of the three parts of `LayerActivations::qkv`, in their order.
constexpr LayerParameter QKV[] = {QUERY, KEY, VALUE};

// Tells whether a parameter is still the one that was packed. MXNet's version number changes when
// the parameter is written; a few samples of its numbers change when another parameter got the same
// memory, with the same version.
class Stamp {
 public:
  // Takes the stamp of a parameter of `size` numbers; returns whether it differs from the last one.
  bool update(const Parameter& parameter, size_t size) {
    float samples[SAMPLES * LANES];
    for (size_t i = 0; i < SAMPLES; ++i)
      std::memcpy(samples + i * LANES, parameter.values + (size - LANES) * i / (SAMPLES - 1),
                  LANES * sizeof(float));
    const bool same = values_ == parameter.values && version_ == parameter.version &&
                      std::memcmp(samples_, samples, sizeof samples) == 0;
    values_ = parameter.values;
    version_ = parameter.version;
    std::memcpy(samples_, samples, sizeof samples);
    return !same;
  }

 private:
  static constexpr size_t SAMPLES = 4;  // of LANES numbers
  const float* values_ = nullptr;
  size_t version_ = 0;
  float samples_[SAMPLES * LANES] = {};
};

// The stamps of all matrices.
class Stamps {
 public:
  // Calls `pack(index, numbers, shape)` for the matrices that have changed since the last time, of
  // those for which `filter(index)`.
  template <class Filter, class Pack>
  void refresh(const Sizes& sizes, const std::vector<Parameter>& parameters, int threads,
               Filter filter, Pack pack) {
    const std::vector<int> stale = find_stale(sizes, parameters, filter);
    const int count = static_cast<int>(stale.size());
#pragma omp parallel for num_threads(threads) schedule(dynamic) if (count)
    for (int i = 0; i < count; ++i)
      pack(stale[i], parameters[stale[i]].values, shape_of(sizes, stale[i]));
  }

 private:
  template <class Filter>
  std::vector<int> find_stale(const Sizes& sizes, const std::vector<Parameter>& parameters,
                              Filter filter) {
    stamps_.resize(number_of_parameters(sizes));
    std::vector<int> stale;
    for (int index : matrices_of(sizes)) {
      if (!filter(index)) continue;
      const auto shape = shape_of(sizes, index);
      if (stamps_[index].update(parameters[index], static_cast<size_t>(shape.first) * shape.second))
        stale.push_back(index);
    }
    return stale;
  }

  std::vector<Stamp> stamps_;
};

// FORWARD: for y = x Wᵀ. BACKWARD: for the gradient of x, which is that of y times W.
enum class Direction { FORWARD, BACKWARD };

// All matrices, by the index of the parameter, packed for one direction.
template <class T>
class PackedWeights {
 public:
  // The tokens of a block of the forward pass.
  static constexpr int BLOCK_TOKENS = bert::BLOCK_TOKENS<T>;

  explicit PackedWeights(Direction direction) : direction_(direction) {}

  const PackedB& operator[](int index) const { return packed_[index]; }

  // The left operand of a product by a matrix: (rows, width) activations. Nothing has to be done to
  // them here, and no memory is needed.
  using Operand = OperandA;
  struct OperandBuffer {
    void reserve(Arena&, int, int) {}
  };
  Operand prepare_operand(int, MatrixView<const T> activations, int, int, const Team&,
                          const OperandBuffer&) const {
    return operand_a(activations);
  }

  // Rows of the operand times the matrix of an index. epilogue: of `compute_tile`.
  // outputs: columns of the product. inputs: the part of the sum that the operand holds. after:
  // prefetched in the end.
  template <class Epilogue>
  void multiply(const Operand& operand, int rows, int index, Range outputs, Range inputs,
                Epilogue epilogue, const Ahead& after = {}) const {
    bert::multiply<T>(operand, rows, packed_[index], outputs,
                      {inputs.begin / PER_WORD<T>, inputs.end / PER_WORD<T>}, epilogue,
                      NoPrefetch(), after);
  }

  // The panel that a product by the matrix of an index begins with, for columns from this one on.
  Ahead ahead(int index, int column) const {
    return ahead_of(packed_[index], column, {0, packed_[index].depth});
  }

  // Packs what has changed since the last time, of the matrices for which `filter(index)`.
  template <class Filter>
  void refresh(const Sizes& sizes, const std::vector<Parameter>& parameters, int threads,
               Filter filter) {
    if (!arena_.is_open()) reserve(sizes);
    stamps_.refresh(sizes, parameters, threads, filter,
                    [&](int index, const float* weight, std::pair<int, int> shape) {
                      pack(weight, shape, packed_[index]);
                    });
  }

 private:
  void reserve(const Sizes& sizes) {
    packed_.resize(number_of_parameters(sizes));
    arena_.arrange_lasting([&](Arena& arena) {
      for (int index : matrices_of(sizes)) {
        PackedB& packed = packed_[index];
        const auto [rows, columns] = shape_of(sizes, index);
        const bool is_forward = direction_ == Direction::FORWARD;
        packed.depth = (is_forward ? columns : rows) / PER_WORD<T>;
        packed.columns = is_forward ? rows : columns;
        arena.allocate(packed.words, packed.size());
      }
    });
  }

  void pack(const float* weight, std::pair<int, int> shape, PackedB& packed) {
    if (direction_ == Direction::FORWARD)
      pack_forward_weight<T>(weight, shape.first, {0, packed.columns}, packed);
    else
      pack_backward_weight<T>(weight, shape.first, {0, packed.depth}, packed);
  }

  Direction direction_;
  Stamps stamps_;
  std::vector<PackedB> packed_;
  Arena arena_;
};

}  // namespace bert
