// Products of whole numbers of 8 bits, for prediction: weights with a scale for each output, inputs
// with one for each token, found anew each time. Nothing has to be calibrated.
#pragma once

#include <limits>

#include "weights.h"

namespace bert {

constexpr float INT8_LARGEST = 127;
constexpr int INT8_ZERO = 128;  // a left operand of 0: vpdpbusd wants it without sign

// 16 numbers, already scaled, to the next whole ones.
inline __m128i round_to_int8(Vector x) { return _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(x)); }

// The scale with which a row's numbers lie from -127 to 127: 0 for a row that is all but 0, NaN
// where one of them is.
template <class T>
inline float scale_of(const T* row, int width) {
  Vector most = spread(0);
  Mask is_nan = 0;
  for (int i = 0; i < width; i += LANES) {
    const Vector x = load(row + i);
    most = _mm512_max_ps(most, _mm512_abs_ps(x));
    is_nan |= _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
  }
  const float scale = _mm512_reduce_max_ps(most) / INT8_LARGEST;
  if (is_nan) return std::numeric_limits<float>::quiet_NaN();
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

class QuantizedWeights {
 public:
  using Input = QuantizedRows;

  // For the rows of one left operand.
  struct Room {
    void reserve(Arena& arena, int rows, int width) {
      arena.give(numbers, static_cast<size_t>(rows) * padded(width));
      arena.give(scales, rows);
    }
    uint8_t* numbers = nullptr;
    float* scales = nullptr;
  };

  // Quantizes (rows, width) numbers, `step` from a row to the next; the team shares that.
  Input take(const Bfloat16* numbers, size_t step, int rows, int width, const Team& team,
             const Room& room) const {
    const size_t stride = padded(width);
    const Range mine = team.share(rows);
    team.wait();  // the product before has read the room
    for (int row = mine.begin; row < mine.end; ++row) {
      const Bfloat16* from = numbers + row * step;
      room.scales[row] = scale_of(from, width);
      const Vector inverse = inverse_of(room.scales[row]);
      for (int i = 0; i < width; i += LANES) {
        const __m128i rounded = round_to_int8(_mm512_mul_ps(load(from + i), inverse));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(room.numbers + row * stride + i),
                         _mm_xor_si128(rounded, _mm_set1_epi8(static_cast<char>(INT8_ZERO))));
      }
    }
    team.wait();
    return {{reinterpret_cast<const Word*>(room.numbers), stride / PER_WORD<Int8>, 1}, room.scales};
  }

  template <class Finish>
  void multiply(const Input& input, int rows, int layer, LayerParameter parameter, Range columns,
                Range numbers, Finish finish) const {
    const QuantizedMatrix& matrix = matrices_[place_of(layer, parameter)];
    const int height = matrix.packed.columns;
    const Range chunks = {numbers.begin / CHUNK, (numbers.end + CHUNK - 1) / CHUNK};
    const int last = static_cast<int>(padded(numbers.end)) / PER_WORD<Int8>;
    bert::multiply<Int8>(
        input.left, rows, matrix.packed, columns, {numbers.begin / PER_WORD<Int8>, last},
        [&](int row, int column, Vector bits) {
          Vector sum = _mm512_cvtepi32_ps(_mm512_castps_si512(bits));
          for (int chunk = chunks.begin; chunk < chunks.end; ++chunk)
            sum = _mm512_sub_ps(sum,
                                load(matrix.excess + static_cast<size_t>(chunk) * height + column));
          const Vector scale =
              _mm512_mul_ps(load(matrix.scales + column), spread(input.scales[row]));
          finish(row, column, _mm512_mul_ps(sum, scale));
        });
  }

  void refresh(const Sizes& sizes, const std::vector<Parameter>& parameters, int threads) {
    if (!arena_.is_open()) reserve(sizes);
    stamps_.refresh(sizes, parameters, threads,
                    [&](int place, const float* weight, std::pair<int, int> shape) {
                      quantize(weight, shape, matrices_[place]);
                    });
  }

 private:
  // `pack_transposed` takes 16 words at a time: 64 numbers.
  static size_t padded(int width) { return round_up(width, LANES * PER_WORD<Int8>); }
  static int chunks_of(int width) { return (width + CHUNK - 1) / CHUNK; }

  void reserve(const Sizes& sizes) {
    matrices_.resize(number_of_parameters(sizes));
    arena_.arrange([&](Arena& arena) {
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
          sum = _mm512_add_ps(sum, _mm512_roundscale_ps(scaled(from + i, matrix.scales[row]), 0));
        matrix.excess[static_cast<size_t>(chunk) * rows + row] =
            INT8_ZERO * _mm512_reduce_add_ps(sum);
      }
    }
    pack_transposed(
        [&](int row, int word) {
          const float* from = weight + static_cast<size_t>(row) * columns;
          alignas(64) int8_t numbers[LANES * PER_WORD<Int8>] = {};
          for (int i = 0; i < LANES * PER_WORD<Int8> && word * PER_WORD<Int8> + i < columns;
               i += LANES)
            _mm_store_si128(
                reinterpret_cast<__m128i*>(numbers + i),
                round_to_int8(scaled(from + word * PER_WORD<Int8> + i, matrix.scales[row])));
          return _mm512_load_si512(numbers);
        },
        rows, {0, rows}, matrix.packed);
  }

  static Vector scaled(const float* numbers, float scale) {
    return _mm512_mul_ps(load(numbers), inverse_of(scale));
  }

  Stamps stamps_;
  std::vector<QuantizedMatrix> matrices_;  // by the places of the parameters
  Arena arena_;
};

}  // namespace bert
