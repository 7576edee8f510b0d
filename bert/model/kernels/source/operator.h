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
using Attributes = std::unordered_map<std::string, std::string>;
using Shape = std::vector<unsigned int>;

// MXNet's own threads count as one each for OpenMP, so that it has to be told.
extern int number_of_threads;

inline const std::string& get(const Attributes& attributes, const char* name) {
  auto found = attributes.find(name);
  if (found == attributes.end())
    throw std::invalid_argument(std::string("attribute ") + name + " is missing");
  return found->second;
}
inline int get_int(const Attributes& attributes, const char* name) {
  return std::stoi(get(attributes, name));
}
// With a point, whatever the program's locale has. istringstream knows no "inf".
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

inline std::string show(const Shape& shape) {
  std::string text;
  for (unsigned size : shape) text += (text.empty() ? "" : ", ") + std::to_string(size);
  return "(" + text + ")";
}

// What is thrown, as MXNet wants it.
template <class Do>
MXReturnValue guarded(Do act) {
  try {
    act();
    return mxnet::ext::MX_SUCCESS;
  } catch (const std::exception& error) {
    MX_ERROR_MSG << error.what();
    return mxnet::ext::MX_FAIL;
  }
}

}  // namespace bert
