// The element types. Everything that works element by element computes in float. Products multiply
// float, Bfloat16 or Int8, and sum in float32, for Int8 in integers of 32 bits.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bert {

// The upper half of a float32.
struct Bfloat16 {
  uint16_t bits;
};

// An integer from -127 to 127, as wide as the CPU multiplies it: one byte, or two. The left operand
// of a product is stored with INT8_ZERO_POINT added.
#ifdef __AVX512VNNI__
struct Int8 {  // vpdpbusd takes a left operand without sign
  int8_t number;
};
constexpr int INT8_ZERO_POINT = 128;
#else
struct Int8 {  // vpmaddwd; what multiplies 8 bits without VNNI (vpmaddubsw) saturates at 16 bits
  int16_t number;
};
constexpr int INT8_ZERO_POINT = 0;
#endif

// The unit that products multiply: a float32, or two bfloat16 or four int8 (two, where they have 16
// bits) that are neighbours along the sum.
using Word __attribute__((may_alias)) = uint32_t;
template <class T>
constexpr int PER_WORD = sizeof(Word) / sizeof(T);

}  // namespace bert
