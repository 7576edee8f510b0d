// The operator bert_dense: input (rows, in), weight (out, in), bias (out,) → (rows, out).
#include "accumulated_gradients.h"
#include "dense.h"
#include "operator.h"

namespace bert {
namespace {

enum Input { INPUT, WEIGHT, BIAS, INPUTS };
constexpr unsigned SIZE_MULTIPLE = 32;  // in is a multiple of it, as in encoder.py

MXReturnValue parse_attributes(const Attributes&, int* inputs, int* outputs) {
  *inputs = INPUTS;
  *outputs = 1;
  return mxnet::ext::MX_SUCCESS;
}

MXReturnValue infer_types(const Attributes&, std::vector<int>* inputs, std::vector<int>* outputs) {
  return catch_exceptions([&] {
    for (int i = 0; i < INPUTS; ++i) {
      int& type = inputs->at(i);
      if (type < 0) type = mxnet::ext::kFloat32;
      if (type != mxnet::ext::kFloat32)
        throw std::invalid_argument("bert_dense: input " + std::to_string(i) + " is not float32");
    }
    outputs->at(0) = mxnet::ext::kFloat32;
  });
}

MXReturnValue infer_shapes(const Attributes&, std::vector<Shape>* inputs,
                           std::vector<Shape>* outputs) {
  return catch_exceptions([&] {
    const Shape &input = inputs->at(INPUT), &weight = inputs->at(WEIGHT), &bias = inputs->at(BIAS);
    if (input.size() != 2 || weight.size() != 2 || input[1] != weight[1] ||
        bias != Shape{weight[0]} || weight[1] % SIZE_MULTIPLE)
      throw std::invalid_argument("bert_dense: input " + to_text(input) + ", weight " +
                                  to_text(weight) + ", bias " + to_text(bias) +
                                  "; expected (rows, in), (out, in), (out), " +
                                  "in a multiple of " + std::to_string(SIZE_MULTIPLE));
    outputs->at(0) = {input[0], weight[0]};
  });
}

Dense read_dense(MXTensor* inputs) {
  const auto& shape = inputs[WEIGHT].shape;
  return {inputs[INPUT].data<float>(),
          inputs[WEIGHT].data<float>(),
          inputs[BIAS].data<float>(),
          static_cast<int>(inputs[INPUT].shape[0]),
          static_cast<int>(shape[1]),
          static_cast<int>(shape[0]),
          number_of_threads};
}

MXReturnValue forward(const Attributes& attributes, std::vector<MXTensor>* inputs,
                      std::vector<MXTensor>* outputs, const OpResource&) {
  return catch_exceptions([&] {
    forward_dense(get(attributes, "dtype"), read_dense(inputs->data()),
                  outputs->at(0).data<float>());
  });
}

// inputs: the gradient of the output, the inputs of forward, its output.
MXReturnValue backward(const Attributes& attributes, std::vector<MXTensor>* inputs,
                       std::vector<MXTensor>* outputs, const OpResource&) {
  return catch_exceptions([&] {
    auto gradient = [&](Input input) {
      return accumulated_gradients().gradient_at(outputs->at(input).data<float>());
    };
    backward_dense(get(attributes, "dtype"), read_dense(inputs->data() + 1),
                   inputs->at(0).data<float>(),
                   {gradient(INPUT), gradient(WEIGHT), gradient(BIAS)});
  });
}

}  // namespace
}  // namespace bert

REGISTER_OP(bert_dense)
    .setParseAttrs(bert::parse_attributes)
    .setInferType(bert::infer_types)
    .setInferShape(bert::infer_shapes)
    .setForward(bert::forward, "cpu")
    .setBackward(bert::backward, "cpu");
