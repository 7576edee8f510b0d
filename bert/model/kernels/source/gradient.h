// Where an operator writes a gradient.
#pragma once

namespace bert {

struct Gradient {
  float* values;
  bool accumulate;  // add to the values that are there, instead of replacing them
};

}  // namespace bert
