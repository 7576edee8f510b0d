// Dropout (Srivastava et al. 2014) from a counter: a seed and the position of a number decide
// whether it is dropped. So backward computes the same mask again, and nothing is stored.
#pragma once

#include "vectors.h"

namespace bert {

class Dropout {
 public:
  Dropout() = default;
  // rate: the share that is dropped, in steps of 1/65536. seed: of this forward pass.
  Dropout(float rate, uint64_t seed)
      : threshold_(static_cast<int>(rate * 65536.f + 0.5f)), seed_(seed),
        scale_(rate < 1 ? 1 / (1 - rate) : 0) {}

  bool is_off() const { return threshold_ == 0; }
  float scale() const { return is_off() ? 1 : scale_; }

  // Which of the LANES numbers from `column` on survive. site: where in the network, each of its
  // dropouts has a number of its own. row: among all rows of the site.
  Mask mask(uint64_t site, uint64_t row, uint64_t column) const {
    if (threshold_ > 65535) return first_lanes(0);
    __m128i numbers[LANES / SHORTS];
    for (int i = 0; i < LANES / SHORTS; ++i)
      numbers[i] = draw(site, row << 32 | (column + i * SHORTS));
    return not_below(numbers, static_cast<uint16_t>(threshold_));
  }

  // x with some numbers zero and the others enlarged, so that the expectation stays.
  Vector apply(Vector x, uint64_t site, uint64_t row, uint64_t column) const {
    if (is_off()) return x;
    return where(mask(site, row, column), x * spread(scale_));
  }

 private:
  // Eight random numbers of 16 bits, by ARS-5 of Salmon et al. 2011 (Parallel random numbers: as
  // easy as 1, 2, 3): five rounds of AES on a counter. The round keys are a Weyl sequence of the
  // golden ratio and of √3 - 1.
  __m128i draw(uint64_t site, uint64_t counter) const {
    const __m128i step = _mm_set_epi64x(0xBB67AE8584CAA73B, 0x9E3779B97F4A7C15);
    __m128i key = _mm_set_epi64x(seed_, site);
    __m128i state = _mm_xor_si128(_mm_set_epi64x(0, counter), key);
    for (int round = 0; round < 4; ++round) {
      key = _mm_add_epi64(key, step);
      state = _mm_aesenc_si128(state, key);
    }
    return _mm_aesenclast_si128(state, _mm_add_epi64(key, step));
  }

  int threshold_ = 0;
  uint64_t seed_ = 0;
  float scale_ = 1;
};

}  // namespace bert
