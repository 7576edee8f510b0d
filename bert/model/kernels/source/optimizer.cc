#include "optimizer.h"

#include <algorithm>
#include <cmath>

#include "vectors.h"

namespace bert {
namespace {

// A part of a parameter that one thread computes: large enough to be worth the while, small enough
// to be shared out evenly.
struct Piece {
  int parameter;
  size_t begin, end;
};
constexpr size_t PIECE = 1 << 15;

std::vector<Piece> cut(const std::vector<Updated>& parameters) {
  std::vector<Piece> pieces;
  for (int i = 0; i < static_cast<int>(parameters.size()); ++i)
    for (size_t begin = 0; begin < parameters[i].size; begin += PIECE)
      pieces.push_back({i, begin, std::min(parameters[i].size, begin + PIECE)});
  return pieces;
}

// Calls `compute(piece, number)` for all of them.
template <class Compute>
void for_all(const std::vector<Piece>& pieces, int threads, Compute compute) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int i = 0; i < static_cast<int>(pieces.size()); ++i) compute(pieces[i], i);
}

// Calls `compute(place, lanes)` for each LANES numbers of a piece, or the fewer at its end.
template <class Compute>
inline void for_lanes(const Piece& piece, Compute compute) {
  for (size_t i = piece.begin; i < piece.end; i += LANES)
    compute(i, first_lanes(static_cast<int>(std::min<size_t>(LANES, piece.end - i))));
}

// The sum of squares of what `read(piece, place, lanes)` gives, for each parameter: of the sums of
// its pieces, in their order.
template <class Read>
std::vector<double> squares(const std::vector<Piece>& pieces, size_t parameters, int threads,
                            Read read) {
  std::vector<double> parts(pieces.size()), sums(parameters);
  for_all(pieces, threads, [&](const Piece& piece, int number) {
    Vector sum = spread(0);
    for_lanes(piece, [&](size_t i, Mask lanes) {
      const Vector x = read(piece, i, lanes);
      sum = fmadd(x, x, sum);
    });
    parts[number] = sum_of(sum);
  });
  for (size_t i = 0; i < pieces.size(); ++i) sums[pieces[i].parameter] += parts[i];
  return sums;
}

// Brings mean and variance up to date.
inline void average(const Adam& rule, const Updated& one, size_t i, Mask lanes, Vector scale) {
  Vector gradient = load(lanes, one.gradient + i) * scale;
  gradient = fmadd(spread(one.gradient_decay), load(lanes, one.weight + i), gradient);
  auto mix = [&](double beta, const float* old, Vector now) {
    const Vector share = spread(static_cast<float>(1 - beta)) * now;
    return fmadd(spread(static_cast<float>(beta)), load(lanes, old + i), share);
  };
  const Vector mean = mix(rule.beta1, one.mean, gradient);
  const Vector variance = mix(rule.beta2, one.variance, gradient * gradient);
  store(lanes, one.mean + i, mean);
  store(lanes, one.variance + i, variance);
}

// m / (√v + epsilon) + decay w, of LANES numbers.
inline Vector direction(const Adam& rule, const Updated& one, size_t i, Mask lanes) {
  Vector mean = load(lanes, one.mean + i), variance = load(lanes, one.variance + i);
  if (rule.is_lamb) {
    mean = mean / spread(rule.mean_correction);
    variance = variance / spread(rule.variance_correction);
  }
  const Vector root = sqrt(variance) + spread(rule.epsilon);
  return fmadd(spread(one.decay), load(lanes, one.weight + i), mean / root);
}

// LAMB's factor of the step, for each parameter.
std::vector<float> trust(const Adam& rule, const std::vector<Updated>& parameters,
                         const std::vector<Piece>& pieces, int threads) {
  const auto weights =
      squares(pieces, parameters.size(), threads, [&](const Piece& piece, size_t i, Mask lanes) {
        return load(lanes, parameters[piece.parameter].weight + i);
      });
  const auto steps =
      squares(pieces, parameters.size(), threads, [&](const Piece& piece, size_t i, Mask lanes) {
        return direction(rule, parameters[piece.parameter], i, lanes);
      });
  std::vector<float> factors;
  for (size_t i = 0; i < parameters.size(); ++i) {
    const double weight = std::min<double>(
        std::max<double>(std::sqrt(weights[i]), rule.lower_bound), rule.upper_bound);
    factors.push_back(weight > 0 && steps[i] > 0 ? weight / std::sqrt(steps[i]) : 1);
  }
  return factors;
}

}  // namespace

float update(const Adam& rule, const std::vector<Updated>& parameters, int threads) {
  const std::vector<Piece> pieces = cut(parameters);
  double total = 0;
  for (double sum :
       squares(pieces, parameters.size(), threads, [&](const Piece& piece, size_t i, Mask lanes) {
         return load(lanes, parameters[piece.parameter].gradient + i);
       }))
    total += sum;
  const float norm = std::sqrt(total);
  // 1e-8: a zero gradient stays zero, as in bert/train/optimizer.py
  const Vector scale = spread(std::min(rule.max_norm / (norm + 1e-8f), 1.f));
  if (rule.is_lamb)  // its factor is of the new averages, over all of a parameter
    for_all(pieces, threads, [&](const Piece& piece, int) {
      for_lanes(piece, [&](size_t i, Mask lanes) {
        average(rule, parameters[piece.parameter], i, lanes, scale);
      });
    });
  const std::vector<float> factors = rule.is_lamb ? trust(rule, parameters, pieces, threads)
                                                  : std::vector<float>(parameters.size(), 1);
  for_all(pieces, threads, [&](const Piece& piece, int) {
    const Updated& one = parameters[piece.parameter];
    const Vector rate = spread(one.rate * factors[piece.parameter]);
    for_lanes(piece, [&](size_t i, Mask lanes) {
      if (!rule.is_lamb) average(rule, one, i, lanes, scale);
      store(lanes, one.weight + i,
            fnmadd(rate, direction(rule, one, i, lanes), load(lanes, one.weight + i)));
    });
  });
  return norm;
}

}  // namespace bert
