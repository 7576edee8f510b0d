#include "dense.h"

#include <stdexcept>

#include "memory.h"
#include "products.h"

namespace bert {
namespace {

constexpr int BIAS_BLOCK = 64 * LANES;  // columns whose sums stay in the L1 cache

// Packs the weight in every pass: in training it has changed since the last one.
template <class T>
class DensePass {
 public:
  explicit DensePass(const Dense& dense)
      : dense_(dense), in_(dense.in_width),
        out_(static_cast<int>(round_up(dense.out_width, LANES))) {}

  void forward(float* output) {
    packed_weight_.depth = in_ / PER_WORD<T>;
    packed_weight_.columns = out_;
    arena_.arrange([&](Arena& arena) {
      arena.allocate(input_, dense_.rows, in_);
      arena.allocate(packed_weight_.words, packed_weight_.size());
    });
    const MatrixView<const float> input(dense_.input, in_);
    const MatrixView<float> out(output, dense_.out_width);
    Region region(dense_.threads);
#pragma omp parallel num_threads(dense_.threads)
    {
      const Team team = Team::of_region(region);
      const Range columns = share_columns(team, out_);
      convert(input, in_, team.share(dense_.rows), input_);
      pack_forward_weight<T>(dense_.weight, dense_.out_width, columns, packed_weight_);
      team.barrier();
      multiply<T>(operand_a(input_), dense_.rows, packed_weight_, columns,
                  {0, packed_weight_.depth}, [&](int column) {
                    const Mask lanes = first_lanes(dense_.out_width - column);
                    return [=, shift = load(lanes, dense_.bias + column)](int row, Vector sum) {
                      store(lanes, out.at(row, column), sum + shift);
                    };
                  });
    }
  }

  void backward(const float* output_gradient, const DenseGradients& gradients) {
    const int row_words = (dense_.rows + PER_WORD<T> - 1) / PER_WORD<T>;
    packed_weight_.depth = out_ / PER_WORD<T>;
    packed_input_.depth = packed_gradient_.depth = row_words;
    packed_weight_.columns = packed_input_.columns = in_;
    packed_gradient_.columns = out_;
    arena_.arrange([&](Arena& arena) {
      arena.allocate(output_gradient_, dense_.rows, out_);
      arena.allocate(packed_weight_.words, packed_weight_.size());
      arena.allocate(packed_gradient_.words, packed_gradient_.size());
      arena.allocate(packed_input_.words, packed_input_.size());
    });
    const MatrixView<const float> input(dense_.input, in_);
    const MatrixView<const float> outer(output_gradient, dense_.out_width);
    const MatrixView<float> weight_gradient(gradients.weight.values, in_);
    Region region(dense_.threads);
#pragma omp parallel num_threads(dense_.threads)
    {
      const Team team = Team::of_region(region);
      convert(outer, dense_.out_width, team.share(dense_.rows), output_gradient_);
      pack_backward_weight<T>(dense_.weight, dense_.out_width, team.share(packed_weight_.depth),
                              packed_weight_);
      compute_bias_gradient(outer, team.share(dense_.out_width, BIAS_BLOCK), gradients.bias);
      team.barrier();
      const Range words = team.share(row_words);
      pack_a<T>([&](int row, int column) { return load(output_gradient_.at(row, column)); },
                dense_.rows, words, packed_gradient_);
      pack_b<T>([&](int row, int column) { return load(input.at(row, column)); }, dense_.rows,
                {0, in_}, words, packed_input_);
      compute_input_gradient(team.share(dense_.rows, MR), gradients.input);
      team.barrier();
      const Range rows = team.share(dense_.out_width, MR);
      multiply_packed<T>(packed_gradient_, rows, packed_input_, {0, in_},
                         weight_gradient.from_row(rows.begin), gradients.weight.accumulate);
    }
  }

 private:
  // Converts rows of `width` numbers to T, padded with zeros to whole vectors.
  static void convert(MatrixView<const float> from, int width, Range rows, MatrixView<T> to) {
    for (int row = rows.begin; row < rows.end; ++row)
      for (int i = 0; i < static_cast<int>(to.stride); i += LANES)
        store(to.at(row, i), load(first_lanes(width - i), from.at(row, i)));
  }

  // The gradient of some rows of the input: that of the output times the weight.
  void compute_input_gradient(Range rows, Gradient gradient) const {
    constexpr int DEPTH = KC / PER_WORD<T>;
    const MatrixView<T> outer = output_gradient_.from_row(rows.begin);
    const MatrixView<float> target(gradient.values, in_);
    for (int word = 0; word < packed_weight_.depth; word += DEPTH)
      multiply<T>(operand_a(outer.from_column(word * PER_WORD<T>)), rows.size(), packed_weight_,
                  {0, in_}, {word, std::min(packed_weight_.depth, word + DEPTH)}, [&](int column) {
                    return [=](int row, Vector sum) {
                      float* place = target.at(rows.begin + row, column);
                      store(place, word || gradient.accumulate ? sum + load(place) : sum);
                    };
                  });
  }

  void compute_bias_gradient(MatrixView<const float> outer, Range columns,
                             Gradient gradient) const {
    for (int start = columns.begin; start < columns.end; start += BIAS_BLOCK) {
      const int width = std::min(BIAS_BLOCK, columns.end - start);
      Vector sums[BIAS_BLOCK / LANES];
      for (int i = 0; i < width; i += LANES)
        sums[i / LANES] = gradient.accumulate
                              ? load(first_lanes(width - i), gradient.values + start + i)
                              : spread(0);
      for (int row = 0; row < dense_.rows; ++row) {
        const float* numbers = outer.at(row, start);
        for (int i = 0; i < width; i += LANES)
          sums[i / LANES] = sums[i / LANES] + load(first_lanes(width - i), numbers + i);
      }
      for (int i = 0; i < width; i += LANES)
        store(first_lanes(width - i), gradient.values + start + i, sums[i / LANES]);
    }
  }

  const Dense& dense_;
  const int in_, out_;             // out_: of whole vectors
  MatrixView<T> input_;            // (rows, in)
  MatrixView<T> output_gradient_;  // (rows, out)
  PackedB packed_weight_, packed_input_;
  PackedA packed_gradient_;
  Arena arena_;
};

// Calls `function(pass)` with the pass of a type.
template <class Function>
void with_pass(const std::string& dtype, const Dense& dense, Function function) {
  if (dtype == "float32") return function(DensePass<float>(dense));
#ifdef __AVX512BF16__
  if (dtype == "bfloat16") return function(DensePass<Bfloat16>(dense));
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
