#include "optimizer.h"

#include <algorithm>
#include <cmath>

#include "vectors.h"

namespace bert {
namespace {

// A piece of a parameter, which one thread computes: large enough to be worth a task, small enough
// for an even distribution.
struct Piece {
  int parameter;
  size_t begin, end;
};
constexpr size_t PIECE_SIZE = 1 << 15;

std::vector<Piece> split(const std::vector<ParameterUpdate>& parameters) {
  std::vector<Piece> pieces;
  for (int i = 0; i < static_cast<int>(parameters.size()); ++i)
    for (size_t begin = 0; begin < parameters[i].size; begin += PIECE_SIZE)
      pieces.push_back({i, begin, std::min(parameters[i].size, begin + PIECE_SIZE)});
  return pieces;
}

// Calls `compute(piece, its number)` for all pieces.
template <class Compute>
void for_all(const std::vector<Piece>& pieces, int threads, Compute compute) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int i = 0; i < static_cast<int>(pieces.size()); ++i) compute(pieces[i], i);
}

// Calls `compute(offset, lanes)` for each LANES numbers of a piece, or the fewer at its end.
template <class Compute>
inline void for_each_vector(const Piece& piece, Compute compute) {
  for (size_t i = piece.begin; i < piece.end; i += LANES)
    compute(i, first_lanes(static_cast<int>(std::min<size_t>(LANES, piece.end - i))));
}

// For each parameter the sum of squares of what `read(piece, offset, lanes)` gives. It adds the
// sums of the pieces in their order, whichever thread computed them: the same bits each time.
template <class Read>
std::vector<double> sums_of_squares(const std::vector<Piece>& pieces, size_t parameters,
                                    int threads, Read read) {
  std::vector<double> piece_sums(pieces.size()), sums(parameters);
  for_all(pieces, threads, [&](const Piece& piece, int number) {
    Vector sum = spread(0);
    for_each_vector(piece, [&](size_t i, Mask lanes) {
      const Vector x = read(piece, i, lanes);
      sum = fmadd(x, x, sum);
    });
    piece_sums[number] = sum_of(sum);
  });
  for (size_t i = 0; i < pieces.size(); ++i) sums[pieces[i].parameter] += piece_sums[i];
  return sums;
}

// Updates mean and variance, of LANES numbers.
inline void update_moments(const Adam& rule, const ParameterUpdate& parameter, size_t i, Mask lanes,
                           Vector scale) {
  Vector gradient = load(lanes, parameter.gradient + i) * scale;
  gradient = fmadd(spread(parameter.gradient_decay), load(lanes, parameter.weight + i), gradient);
  auto moving_average = [&](double beta, const float* before, Vector now) {
    const Vector share = spread(static_cast<float>(1 - beta)) * now;
    return fmadd(spread(static_cast<float>(beta)), load(lanes, before + i), share);
  };
  const Vector mean = moving_average(rule.beta1, parameter.mean, gradient);
  const Vector variance = moving_average(rule.beta2, parameter.variance, gradient * gradient);
  store(lanes, parameter.mean + i, mean);
  store(lanes, parameter.variance + i, variance);
}

// m / (√v + epsilon) + decay w, of LANES numbers.
inline Vector step_direction(const Adam& rule, const ParameterUpdate& parameter, size_t i,
                             Mask lanes) {
  Vector mean = load(lanes, parameter.mean + i), variance = load(lanes, parameter.variance + i);
  if (rule.is_lamb) {
    mean = mean / spread(rule.mean_correction);
    variance = variance / spread(rule.variance_correction);
  }
  const Vector root = sqrt(variance) + spread(rule.epsilon);
  return fmadd(spread(parameter.decay), load(lanes, parameter.weight + i), mean / root);
}

// LAMB's factor of the step, for each parameter.
std::vector<float> trust_ratios(const Adam& rule, const std::vector<ParameterUpdate>& parameters,
                                const std::vector<Piece>& pieces, int threads) {
  const auto weights = sums_of_squares(pieces, parameters.size(), threads,
                                       [&](const Piece& piece, size_t i, Mask lanes) {
                                         return load(lanes, parameters[piece.parameter].weight + i);
                                       });
  const auto steps = sums_of_squares(
      pieces, parameters.size(), threads, [&](const Piece& piece, size_t i, Mask lanes) {
        return step_direction(rule, parameters[piece.parameter], i, lanes);
      });
  std::vector<float> ratios;
  for (size_t i = 0; i < parameters.size(); ++i) {
    const double weight = std::min<double>(
        std::max<double>(std::sqrt(weights[i]), rule.lower_bound), rule.upper_bound);
    ratios.push_back(weight > 0 && steps[i] > 0 ? weight / std::sqrt(steps[i]) : 1);
  }
  return ratios;
}

}  // namespace

float update(const Adam& rule, const std::vector<ParameterUpdate>& parameters, int threads) {
  const std::vector<Piece> pieces = split(parameters);
  double total = 0;
  for (double sum : sums_of_squares(pieces, parameters.size(), threads,
                                    [&](const Piece& piece, size_t i, Mask lanes) {
                                      return load(lanes, parameters[piece.parameter].gradient + i);
                                    }))
    total += sum;
  const float norm = std::sqrt(total);
  // 1e-8: a zero gradient stays zero, as in bert/train/optimizer.py
  const Vector scale = spread(std::min(rule.max_norm / (norm + 1e-8f), 1.f));
  if (rule.is_lamb)  // its trust ratio is of the new moments, over all of a parameter
    for_all(pieces, threads, [&](const Piece& piece, int) {
      for_each_vector(piece, [&](size_t i, Mask lanes) {
        update_moments(rule, parameters[piece.parameter], i, lanes, scale);
      });
    });
  const std::vector<float> ratios = rule.is_lamb ? trust_ratios(rule, parameters, pieces, threads)
                                                 : std::vector<float>(parameters.size(), 1);
  for_all(pieces, threads, [&](const Piece& piece, int) {
    const ParameterUpdate& parameter = parameters[piece.parameter];
    const Vector rate = spread(parameter.rate * ratios[piece.parameter]);
    for_each_vector(piece, [&](size_t i, Mask lanes) {
      if (!rule.is_lamb) update_moments(rule, parameter, i, lanes, scale);
      store(lanes, parameter.weight + i,
            fnmadd(rate, step_direction(rule, parameter, i, lanes),
                   load(lanes, parameter.weight + i)));
    });
  });
  return norm;
}

}  // namespace bert
