// How fast oneDNN multiplies the matrices of product_limit.cc. The weights are reordered
// beforehand. Arguments: threads, times, types. Prints Gop/s of each type, 0 if oneDNN lacks it.
#include <omp.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "dnnl.hpp"
#include "timed_product.h"

using Type = dnnl::memory::data_type;
using Order = dnnl::memory::format_tag;

class Product {
 public:
  Product(Type left, Type right, Type sums)
      : engine_(dnnl::engine::kind::cpu, 0), stream_(engine_),
        description_(engine_, {{ROWS, DEPTH}, left, Order::ab},
                     {{DEPTH, COLUMNS}, right, Order::any}, {{ROWS, COLUMNS}, sums, Order::ab}),
        product_(description_), left_(description_.src_desc(), engine_),
        right_(description_.weights_desc(), engine_), sums_(description_.dst_desc(), engine_) {
    for (dnnl::memory* operand : {&left_, &right_})
      std::fill_n(static_cast<uint32_t*>(operand->get_data_handle()),
                  operand->get_desc().get_size() / sizeof OPERAND, OPERAND);
  }

  void multiply() {
    product_.execute(stream_,
                     {{DNNL_ARG_SRC, left_}, {DNNL_ARG_WEIGHTS, right_}, {DNNL_ARG_DST, sums_}});
    stream_.wait();
  }

 private:
  dnnl::engine engine_;
  dnnl::stream stream_;
  dnnl::matmul::primitive_desc description_;
  dnnl::matmul product_;
  dnnl::memory left_, right_, sums_;
};

static Product product_of(const std::string& type) {
  if (type == "bfloat16") return {Type::bf16, Type::bf16, Type::f32};
  if (type == "int8") return {Type::u8, Type::s8, Type::s32};
  return {Type::f32, Type::f32, Type::f32};
}

static double measure(const std::string& type, int times) try {
  Product product = product_of(type);
  return measure(times, [&] { product.multiply(); });
} catch (const dnnl::error& error) {
  if (error.status != dnnl_unimplemented) throw;
  return 0;
}

int main(int count, char** arguments) {
  omp_set_num_threads(std::atoi(arguments[1]));
  for (int i = 3; i < count; ++i)
    std::printf("%.1f\n", measure(std::string(arguments[i]), std::atoi(arguments[2])));
}
