// What operators of MXNet's extension interface (lib_api.h) share.
#pragma once

#include <mxnet/lib_api.h>

#include <limits>
#include <locale>
#include <sstream>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

namespace bert {

using mxnet::ext::MXReturnValue;
using mxnet::ext::MXTensor;
using mxnet::ext::OpResource;
// lib_api.h only carries strings: an attribute is a string whatever it means, and what Python
// passes as a number or a list arrives here as text.
using Attributes = std::unordered_map<std::string, std::string>;
using Shape = std::vector<unsigned int>;

// How many threads a parallel region gets. OpenMP cannot tell: for it each of MXNet's own threads
// counts as one. library.py sets it.
extern int number_of_threads;

inline const std::string& get(const Attributes& attributes, const char* name) {
  const auto entry = attributes.find(name);
  if (entry == attributes.end())
    throw std::invalid_argument(std::string("attribute ") + name + " is missing");
  return entry->second;
}
inline int get_int(const Attributes& attributes, const char* name) {
  return std::stoi(get(attributes, name));
}
// Reads a decimal point, whatever the program's locale has. istringstream does not know "inf".
inline double get_double(const Attributes& attributes, const char* name) {
  const std::string& text = get(attributes, name);
  if (text == "inf") return std::numeric_limits<double>::infinity();
  std::istringstream stream(text);
  stream.imbue(std::locale::classic());
  double number;
  if (!(stream >> number))
    throw std::invalid_argument(std::string("attribute ") + name + " is no number: " + text);
  return number;
}
inline float get_float(const Attributes& attributes, const char* name) {
  return static_cast<float>(get_double(attributes, name));
}

inline std::string to_text(const Shape& shape) {
  std::string text;
  for (unsigned size : shape) text += (text.empty() ? "" : ", ") + std::to_string(size);
  return "(" + text + ")";
}

// Calls `function` and turns an exception into what MXNet expects: its message, and a status.
template <class Function>
MXReturnValue catch_exceptions(Function function) {
  try {
    function();
    return mxnet::ext::MX_SUCCESS;
  } catch (const std::exception& error) {
    MX_ERROR_MSG << error.what();
    return mxnet::ext::MX_FAIL;
  }
}

}  // namespace bert
