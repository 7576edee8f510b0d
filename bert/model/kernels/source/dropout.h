// Dropout (Srivastava et al. 2014) from a counter: what is dropped follows from a seed and the
// place, so that backward computes the same again and nothing is stored.
#pragma once

#include "vectors.h"

namespace bert {

// Where numbers are dropped: places of a network have numbers of their own.
class Dropout {
 public:
  Dropout() = default;
  // rate: the share that is dropped, in steps of 1/65536. seed: of this forward pass.
  Dropout(float rate, uint64_t seed)
      : threshold_(static_cast<int>(rate * 65536.f + 0.5f)), seed_(seed),
        scale_(rate < 1 ? 1 / (1 - rate) : 0) {}

  bool is_off() const { return threshold_ == 0; }
  float scale() const { return is_off() ? 1 : scale_; }

  // Which of the 16 numbers from `column` on are kept. place: where in the network; row: of all.
  Mask keep(uint64_t place, uint64_t row, uint64_t column) const {
    if (threshold_ > 65535) return 0;
    // ARS-5 of Salmon et al. 2011 (Parallel random numbers: as easy as 1, 2, 3): five rounds of AES
    // on a counter, whose round keys are a Weyl sequence of the golden ratio and of √3 - 1.
    const __m256i step = _mm256_set_epi64x(0xBB67AE8584CAA73B, 0x9E3779B97F4A7C15,
                                           0xBB67AE8584CAA73B, 0x9E3779B97F4A7C15);
    __m256i key = _mm256_set_epi64x(seed_, place, seed_, place);
    const uint64_t first = (row << 32) | (column << 1);
    __m256i state = _mm256_xor_si256(_mm256_set_epi64x(0, first + 1, 0, first), key);
    for (int round = 0; round < 4; ++round) {
      key = _mm256_add_epi64(key, step);
      state = _mm256_aesenc_epi128(state, key);
    }
    state = _mm256_aesenclast_epi128(state, _mm256_add_epi64(key, step));
    return _mm256_cmp_epu16_mask(state, _mm256_set1_epi16(static_cast<short>(threshold_)),
                                 _MM_CMPINT_NLT);
  }

  // x with some numbers zero and the others made larger, so that the expectation stays.
  Vector apply(Vector x, uint64_t place, uint64_t row, uint64_t column) const {
    if (is_off()) return x;
    return _mm512_maskz_mul_ps(keep(place, row, column), x, spread(scale_));
  }

 private:
  int threshold_ = 0;
  uint64_t seed_ = 0;
  float scale_ = 1;
};

}  // namespace bert
