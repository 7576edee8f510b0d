// Products of 8-bit integers, for prediction. A weight has a scale for each output channel, found
// when it is packed; activations have one for each token, found in each product (dynamic
// quantization). Nothing has to be calibrated.
#pragma once

#include <cmath>
#include <limits>

#include "weights.h"

namespace bert {

constexpr float INT8_LARGEST = 127;
// The scale that brings the numbers of a row to -127 … 127. It is 0 where all of them are so small
// that it would be subnormal, and NaN where one of them is no finite number.
template <class T>
inline float scale_of(const T* row, int width) {
  LargestMagnitudes<T> magnitudes;
  for (int i = 0; i < width; i += LANES) magnitudes.add(row + i);
  const Vector largest = magnitudes.value();
  if (std::isnan(sum_of(largest * spread(0)))) return std::numeric_limits<float>::quiet_NaN();
  const float scale = largest_of(largest) / INT8_LARGEST;
  return scale < std::numeric_limits<float>::min() ? 0 : scale;
}

inline Vector inverse_of(float scale) { return spread(scale > 0 ? 1 / scale : 0); }

// The left operand. Numbers past the width meet weights of 0.
struct QuantizedOperand {
  OperandA rows;
  const float* scales;  // of the rows
};

// A matrix (rows, columns), and what turns the integer sums into the product: the scale of each
// row, and what the zero point of the left operand adds to its sums, KC columns at a time.
struct QuantizedMatrix {
  PackedB packed;
  float* scales = nullptr;            // (rows,)
  MatrixView<float> zero_point_sums;  // (blocks of KC columns, rows)
};

// The same interface as `PackedWeights`. T: the type of activations, and of the products that stay
// in floating point.
template <class T>
class QuantizedWeights {
 public:
  // Half as many as in bfloat16, because each activation is in the cache as an integer too, and
  // weights are half as large: that is 2 % faster on an AMD EPYC.
  static constexpr int BLOCK_TOKENS = 128;

  using Operand = QuantizedOperand;

  // Memory for the rows of one left operand.
  struct OperandBuffer {
    void reserve(Arena& arena, int rows, int width) {
      arena.allocate(integers, static_cast<size_t>(rows) * padded(width));
      arena.allocate(scales, rows);
    }
    Int8* integers = nullptr;
    float* scales = nullptr;
  };

  // Quantizes (rows, width) activations into the buffer; the team shares the work.
  Operand prepare_operand(int index, MatrixView<const T> activations, int rows, int width,
                          const Team& team, const OperandBuffer& buffer) const {
    if (is_float(index)) return {operand_a(activations), nullptr};
    const MatrixView<Int8> integers(buffer.integers, padded(width));
    const Range share = team.share(rows);
    team.barrier();  // the product before has read the buffer
    for (int row = share.begin; row < share.end; ++row) {
      const T* from = activations.row(row);
      buffer.scales[row] = scale_of(from, width);
      const Vector inverse = inverse_of(buffer.scales[row]);
      for (int i = 0; i < width; i += LANES)
        store_operand_a(integers.at(row, i), load(from + i) * inverse);
    }
    team.barrier();
    return {operand_a(integers), buffer.scales};
  }

  template <class Epilogue>
  void multiply(const Operand& operand, int rows, int index, Range outputs, Range inputs,
                Epilogue epilogue, const Ahead& after = {}) const {
    if (is_float(index)) {
      float_weights_.multiply(operand.rows, rows, index, outputs, inputs, epilogue, after);
      return;
    }
    const QuantizedMatrix& weight = matrices_[index];
    const Range blocks = {inputs.begin / KC, (inputs.end + KC - 1) / KC};
    const int last = static_cast<int>(padded(inputs.end)) / PER_WORD<Int8>;
    bert::multiply<Int8>(
        operand.rows, rows, weight.packed, outputs, {inputs.begin / PER_WORD<Int8>, last},
        [&](int column) {
          Vector zero_point_sum = spread(0);
          for (int block = blocks.begin; block < blocks.end; ++block)
            zero_point_sum = zero_point_sum + load(weight.zero_point_sums.at(block, column));
          const Vector scale = load(weight.scales + column);
          const float* row_scales = operand.scales;
          return [=, finish = epilogue(column)](int row, Vector integers) {
            finish(row,
                   (int32_to_float(integers) - zero_point_sum) * (scale * spread(row_scales[row])));
          };
        },
        NoPrefetch(), after);
  }

  Ahead ahead(int index, int column) const {
    if (is_float(index)) return float_weights_.ahead(index, column);
    return ahead_of(matrices_[index].packed, column, {0, matrices_[index].packed.depth});
  }

  // float_products: of `Settings`
  void refresh(const Sizes& sizes, const std::vector<Parameter>& parameters, int threads,
               const std::vector<bool>& float_products) {
    if (!arena_.is_open()) reserve(sizes);
    float_products_ = float_products;
    if (std::count(float_products.begin(), float_products.end(), true))
      float_weights_.refresh(sizes, parameters, threads,
                             [&](int index) { return is_float(index); });
    stamps_.refresh(
        sizes, parameters, threads, [&](int index) { return !is_float(index); },
        [&](int index, const float* weight, std::pair<int, int> shape) {
          quantize(weight, shape, matrices_[index]);
        });
  }

 private:
  bool is_float(int index) const {
    const size_t number = product_number(index);
    return number < float_products_.size() && float_products_[number];
  }

  // `pack_b_transposed` reads LANES words at a time.
  static size_t padded(int width) { return round_up(width, LANES * PER_WORD<Int8>); }
  static int blocks_of(int width) { return (width + KC - 1) / KC; }

  void reserve(const Sizes& sizes) {
    matrices_.resize(number_of_parameters(sizes));
    arena_.arrange_lasting([&](Arena& arena) {
      for (int index : matrices_of(sizes)) {
        QuantizedMatrix& matrix = matrices_[index];
        const auto [rows, columns] = shape_of(sizes, index);
        matrix.packed.depth = static_cast<int>(padded(columns)) / PER_WORD<Int8>;
        matrix.packed.columns = rows;
        arena.allocate(matrix.packed.words, matrix.packed.size());
        arena.allocate(matrix.scales, rows);
        arena.allocate(matrix.zero_point_sums, blocks_of(columns), rows);
      }
    });
  }

  static void quantize(const float* weight, std::pair<int, int> shape, QuantizedMatrix& matrix) {
    const int rows = shape.first, columns = shape.second;
    const MatrixView<const float> source(weight, columns);
    for (int row = 0; row < rows; ++row) {
      matrix.scales[row] = scale_of(source.row(row), columns);
      for (int block = 0; block < blocks_of(columns); ++block) {
        Vector sum = spread(0);
        for (int i = block * KC; i < std::min(columns, (block + 1) * KC); i += LANES)
          sum = sum + round(scaled(source.at(row, i), matrix.scales[row]));
        *matrix.zero_point_sums.at(block, row) = INT8_ZERO_POINT * sum_of(sum);
      }
    }
    pack_b_transposed(
        [&](int row, int word) {
          constexpr int NUMBERS = LANES * PER_WORD<Int8>;
          const int column = word * PER_WORD<Int8>;
          Int8 integers[NUMBERS] = {};
          for (int i = 0; i < NUMBERS && column + i < columns; i += LANES)
            store(integers + i, scaled(source.at(row, column + i), matrix.scales[row]));
          return load_words(integers);
        },
        rows, {0, rows}, matrix.packed);
  }

  static Vector scaled(const float* numbers, float scale) {
    return load(numbers) * inverse_of(scale);
  }

  std::vector<bool> float_products_;
  PackedWeights<T> float_weights_{Direction::FORWARD};
  Stamps stamps_;
  std::vector<QuantizedMatrix> matrices_;  // by the index of the parameter
  Arena arena_;
};

}  // namespace bert
