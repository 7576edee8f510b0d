// A view of a matrix whose memory somebody else owns.
#pragma once

#include <cstddef>

namespace bert {

// stride: elements from a row to the next, at least the width. The view does not know how many rows
// and columns there are. A null view stands for a matrix that nobody keeps.
template <class T>
struct MatrixView {
  T* data = nullptr;
  size_t stride = 0;

  MatrixView() = default;
  MatrixView(T* data, size_t stride) : data(data), stride(stride) {}
  template <class U>  // a view of U is a view of const U too
  MatrixView(MatrixView<U> other) : data(other.data), stride(other.stride) {}

  explicit operator bool() const { return data; }

  T* row(size_t i) const { return data + i * stride; }
  T* at(size_t i, size_t j) const { return row(i) + j; }

  // The parts that start at a row, or at a column.
  MatrixView from_row(size_t i) const { return {data ? row(i) : data, stride}; }
  MatrixView from_column(size_t j) const { return {data ? data + j : data, stride}; }
};

}  // namespace bert
