#include "dense.h"

#include <stdexcept>

#include "memory.h"
#include "products.h"

namespace bert {
namespace {

constexpr int BLOCK = 64 * LANES;  // columns whose sums stay in the first cache

// The weight is packed anew in every pass: in training it has changed since the last one.
template <class T>
class DensePass {
 public:
  explicit DensePass(const Dense& dense)
      : dense_(dense), in_(dense.in_width),
        out_(static_cast<int>(round_up(dense.out_width, LANES))) {}

  void forward(float* output) {
    weight_.depth = in_ / PER_WORD<T>;
    weight_.columns = out_;
    arena_.arrange([&](Arena& arena) {
      arena.give(input_, size(dense_.rows, in_));
      arena.give(weight_.words, weight_.size());
    });
#pragma omp parallel num_threads(dense_.threads)
    {
      const Team team = Team::of_region();
      const Range columns = share_columns(team, out_);
      convert(dense_.input, in_, in_, team.share(dense_.rows), input_);
      pack_for_output<T>(dense_.weight, dense_.out_width, columns, weight_);
      team.wait();
      multiply<T>(rows_of(input_, in_), dense_.rows, weight_, columns, {0, weight_.depth},
                  [&](int row, int column, Vector sum) {
                    const Mask lanes = first_lanes(dense_.out_width - column);
                    store(lanes, output + size(row, dense_.out_width) + column,
                          sum + load(lanes, dense_.bias + column));
                  });
    }
  }

  void backward(const float* output_gradient, const DenseGradients& gradients) {
    const int row_words = (dense_.rows + PER_WORD<T> - 1) / PER_WORD<T>;
    weight_.depth = out_ / PER_WORD<T>;
    right_.depth = left_.depth = row_words;
    weight_.columns = right_.columns = in_;
    left_.columns = out_;
    arena_.arrange([&](Arena& arena) {
      arena.give(gradient_, size(dense_.rows, out_));
      arena.give(weight_.words, weight_.size());
      arena.give(left_.words, left_.size());
      arena.give(right_.words, right_.size());
    });
#pragma omp parallel num_threads(dense_.threads)
    {
      const Team team = Team::of_region();
      convert(output_gradient, dense_.out_width, out_, team.share(dense_.rows), gradient_);
      pack_for_gradient<T>(dense_.weight, dense_.out_width, team.share(weight_.depth), weight_);
      sum_bias(output_gradient, team.share(dense_.out_width, BLOCK), gradients.bias);
      team.wait();
      const Range words = team.share(row_words);
      pack_left<T>([&](int row, int column) { return load(gradient_ + size(row, out_) + column); },
                   dense_.rows, words, left_);
      pack<T>([&](int row, int column) { return load(dense_.input + size(row, in_) + column); },
              dense_.rows, {0, in_}, words, right_);
      pass_on(team.share(dense_.rows, TILE_ROWS), gradients.input);
      team.wait();
      const Range rows = team.share(dense_.out_width, TILE_ROWS);
      multiply_left<T>(left_, rows, right_, {0, in_}, gradients.weight.add,
                       gradients.weight.values + size(rows.begin, in_), in_);
    }
  }

 private:
  static size_t size(int rows, int width) { return static_cast<size_t>(rows) * width; }

  // (rows, width) numbers to T, each row `padded` wide with zeros behind.
  static void convert(const float* numbers, int width, int padded, Range rows, T* to) {
    for (int row = rows.begin; row < rows.end; ++row)
      for (int i = 0; i < padded; i += LANES)
        store(to + size(row, padded) + i,
              load(first_lanes(width - i), numbers + size(row, width) + i));
  }

  // The input's gradient of some rows: that of the output times the weight.
  void pass_on(Range rows, Gradient gradient) const {
    constexpr int STEP = CHUNK / PER_WORD<T>;
    for (int word = 0; word < weight_.depth; word += STEP)
      multiply<T>(rows_of(gradient_ + size(rows.begin, out_) + size(word, PER_WORD<T>), out_),
                  rows.size(), weight_, {0, in_}, {word, std::min(weight_.depth, word + STEP)},
                  [&](int row, int column, Vector sum) {
                    float* place = gradient.values + size(rows.begin + row, in_) + column;
                    store(place, word || gradient.add ? sum + load(place) : sum);
                  });
  }

  void sum_bias(const float* output_gradient, Range columns, Gradient gradient) const {
    for (int start = columns.begin; start < columns.end; start += BLOCK) {
      const int width = std::min(BLOCK, columns.end - start);
      Vector sums[BLOCK / LANES];
      for (int i = 0; i < width; i += LANES)
        sums[i / LANES] =
            gradient.add ? load(first_lanes(width - i), gradient.values + start + i) : spread(0);
      for (int row = 0; row < dense_.rows; ++row) {
        const float* numbers = output_gradient + size(row, dense_.out_width) + start;
        for (int i = 0; i < width; i += LANES)
          sums[i / LANES] = sums[i / LANES] + load(first_lanes(width - i), numbers + i);
      }
      for (int i = 0; i < width; i += LANES)
        store(first_lanes(width - i), gradient.values + start + i, sums[i / LANES]);
    }
  }

  const Dense& dense_;
  const int in_, out_;     // out_: whole vectors
  T* input_ = nullptr;     // (rows, in)
  T* gradient_ = nullptr;  // (rows, out)
  Packed weight_, right_;
  PackedLeft left_;
  Arena arena_;
};

// Calls `act(pass)` with the pass of a type.
template <class Act>
void with_pass(const std::string& dtype, const Dense& dense, Act act) {
  if (dtype == "float32") return act(DensePass<float>(dense));
#ifdef __AVX512BF16__
  if (dtype == "bfloat16") return act(DensePass<Bfloat16>(dense));
#endif
  throw std::invalid_argument("dtype " + dtype + ": this library has no products of it");
}

}  // namespace

void forward_dense(const std::string& dtype, const Dense& dense, float* output) {
  with_pass(dtype, dense, [&](auto&& pass) { pass.forward(output); });
}

void backward_dense(const std::string& dtype, const Dense& dense, const float* output_gradient,
                    const DenseGradients& gradients) {
  with_pass(dtype, dense, [&](auto&& pass) { pass.backward(output_gradient, gradients); });
}

}  // namespace bert
