// Products of whole numbers of 8 bits, for prediction: weights with a scale for each output, inputs
// with one for each token, found anew each time. Nothing has to be calibrated.
#pragma once

#include <cmath>
#include <limits>

#include "weights.h"

namespace bert {

constexpr float INT8_LARGEST = 127;
// The scale with which a row's numbers lie from -127 to 127: 0 for a row that is all but 0, NaN
// where one of them is.
template <class T>
inline float scale_of(const T* row, int width) {
  Vector most = spread(0), zeros = spread(0);
  for (int i = 0; i < width; i += LANES) {
    const Vector x = load(row + i);
    most = max(most, max(x, spread(0) - x));
    zeros = fmadd(x, spread(0), zeros);
  }
  const float scale = largest_of(most) / INT8_LARGEST;
  if (std::isnan(sum_of(zeros))) return std::numeric_limits<float>::quiet_NaN();
  return scale < std::numeric_limits<float>::min() ? 0 : scale;
}

inline Vector inverse_of(float scale) { return spread(scale > 0 ? 1 / scale : 0); }

// Rows of a left operand. Numbers behind the width are multiplied by weights of 0.
struct QuantizedRows {
  Left left;
  const float* scales;  // of the rows
};

// One matrix (rows, columns): its numbers packed, the scale of each row, and the sums of each row
// over CHUNK columns, times INT8_ZERO: so much too large are the products.
struct QuantizedMatrix {
  Packed packed;
  float *scales = nullptr, *excess = nullptr;  // (rows,), (chunks, rows)
};

// T: what the products are of that are kept.
template <class T>
class QuantizedWeights {
 public:
  using Input = QuantizedRows;

  // For the rows of one left operand.
  struct Room {
    void reserve(Arena& arena, int rows, int width) {
      arena.give(numbers, static_cast<size_t>(rows) * padded(width));
      arena.give(scales, rows);
    }
    Int8* numbers = nullptr;
    float* scales = nullptr;
  };

  // Quantizes (rows, width) numbers, `step` from a row to the next; the team shares that.
  Input take(int layer, LayerParameter parameter, const T* numbers, size_t step, int rows,
             int width, const Team& team, const Room& room) const {
    if (is_kept(layer, parameter)) return {rows_of(numbers, step), nullptr};
    const size_t stride = padded(width);
    const Range mine = team.share(rows);
    team.wait();  // the product before has read the room
    for (int row = mine.begin; row < mine.end; ++row) {
      const T* from = numbers + row * step;
      room.scales[row] = scale_of(from, width);
      const Vector inverse = inverse_of(room.scales[row]);
      for (int i = 0; i < width; i += LANES)
        store_left(room.numbers + row * stride + i, load(from + i) * inverse);
    }
    team.wait();
    return {rows_of(room.numbers, stride), room.scales};
  }

  template <class Finish>
  void multiply(const Input& input, int rows, int layer, LayerParameter parameter, Range columns,
                Range numbers, Finish finish) const {
    if (is_kept(layer, parameter)) {
      kept_weights_.multiply(input.left, rows, layer, parameter, columns, numbers, finish);
      return;
    }
    const QuantizedMatrix& matrix = matrices_[place_of(layer, parameter)];
    const int height = matrix.packed.columns;
    const Range chunks = {numbers.begin / CHUNK, (numbers.end + CHUNK - 1) / CHUNK};
    const int last = static_cast<int>(padded(numbers.end)) / PER_WORD<Int8>;
    bert::multiply<Int8>(
        input.left, rows, matrix.packed, columns, {numbers.begin / PER_WORD<Int8>, last},
        [&](int row, int column, Vector bits) {
          Vector sum = whole_numbers(bits);
          for (int chunk = chunks.begin; chunk < chunks.end; ++chunk)
            sum = sum - load(matrix.excess + static_cast<size_t>(chunk) * height + column);
          finish(row, column, sum * (load(matrix.scales + column) * spread(input.scales[row])));
        });
  }

  // kept: of `Settings`
  void refresh(const Sizes& sizes, const std::vector<Parameter>& parameters, int threads,
               const std::vector<bool>& kept) {
    if (!arena_.is_open()) reserve(sizes);
    kept_ = kept;
    if (std::count(kept.begin(), kept.end(), true))
      kept_weights_.refresh(sizes, parameters, threads,
                            [&](int layer, int matrix) { return is_kept(layer, matrix); });
    stamps_.refresh(
        sizes, parameters, threads, [&](int layer, int matrix) { return !is_kept(layer, matrix); },
        [&](int place, const float* weight, std::pair<int, int> shape) {
          quantize(weight, shape, matrices_[place]);
        });
  }

 private:
  bool is_kept(int layer, int matrix) const {
    const size_t number = PRODUCTS * layer + product_of(matrix);
    return number < kept_.size() && kept_[number];
  }

  // `pack_transposed` takes LANES words at a time.
  static size_t padded(int width) { return round_up(width, LANES * PER_WORD<Int8>); }
  static int chunks_of(int width) { return (width + CHUNK - 1) / CHUNK; }

  void reserve(const Sizes& sizes) {
    matrices_.resize(number_of_parameters(sizes));
    arena_.arrange_lasting([&](Arena& arena) {
      for (int layer = 0; layer < sizes.num_layers; ++layer)
        for (int parameter : MATRICES) {
          QuantizedMatrix& matrix = matrices_[place_of(layer, parameter)];
          const auto shape = shape_of(sizes, place_of(layer, parameter));
          matrix.packed.depth = static_cast<int>(padded(shape.second)) / PER_WORD<Int8>;
          matrix.packed.columns = shape.first;
          arena.give(matrix.packed.words, matrix.packed.size());
          arena.give(matrix.scales, shape.first);
          arena.give(matrix.excess, static_cast<size_t>(chunks_of(shape.second)) * shape.first);
        }
    });
  }

  static void quantize(const float* weight, std::pair<int, int> shape, QuantizedMatrix& matrix) {
    const int rows = shape.first, columns = shape.second;
    for (int row = 0; row < rows; ++row) {
      const float* from = weight + static_cast<size_t>(row) * columns;
      matrix.scales[row] = scale_of(from, columns);
      for (int chunk = 0; chunk < chunks_of(columns); ++chunk) {
        Vector sum = spread(0);
        for (int i = chunk * CHUNK; i < std::min(columns, (chunk + 1) * CHUNK); i += LANES)
          sum = sum + round(scaled(from + i, matrix.scales[row]));
        matrix.excess[static_cast<size_t>(chunk) * rows + row] = INT8_ZERO * sum_of(sum);
      }
    }
    pack_transposed(
        [&](int row, int word) {
          const float* from = weight + static_cast<size_t>(row) * columns;
          Int8 numbers[LANES * PER_WORD<Int8>] = {};
          for (int i = 0; i < LANES * PER_WORD<Int8> && word * PER_WORD<Int8> + i < columns;
               i += LANES)
            store(numbers + i, scaled(from + word * PER_WORD<Int8> + i, matrix.scales[row]));
          return load_words(numbers);
        },
        rows, {0, rows}, matrix.packed);
  }

  static Vector scaled(const float* numbers, float scale) {
    return load(numbers) * inverse_of(scale);
  }

  std::vector<bool> kept_;
  PackedWeights<T> kept_weights_{false};
  Stamps stamps_;
  std::vector<QuantizedMatrix> matrices_;  // by the places of the parameters
  Arena arena_;
};

}  // namespace bert
