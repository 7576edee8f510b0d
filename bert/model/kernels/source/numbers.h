// The types of numbers: float, which all that is done element by element is done in, and what else
// products multiply; they add in float32, or in whole numbers of 32 bits.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bert {

// The upper half of a float32.
struct Bfloat16 {
  uint16_t bits;
};

// A whole number from -127 to 127, as the CPU multiplies it: one byte, or two. Of the left operand
// of a product it stands for INT8_ZERO more.
#ifdef __AVX512VNNI__
struct Int8 {  // vpdpbusd takes a left operand without sign
  int8_t number;
};
constexpr int INT8_ZERO = 128;
#else
struct Int8 {  // vpmaddwd; what multiplies 8 bits without VNNI (vpmaddubsw) cuts sums to 16 bits
  int16_t number;
};
constexpr int INT8_ZERO = 0;
#endif

// What products multiply: a float32, or two bfloat16 or four int8 (two, where they have 16 bits)
// that are neighbours along the sum.
using Word __attribute__((may_alias)) = uint32_t;
template <class T>
constexpr int PER_WORD = sizeof(Word) / sizeof(T);

}  // namespace bert
