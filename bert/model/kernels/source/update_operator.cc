// The operator bert_update: a step of the optimizer. Its inputs are
//     rates (parameters, 3): rate, decay and gradient_decay of `ParameterUpdate`,
//     all weights, then all gradients, all means, all variances;
// it writes weights, means and variances. Its output (1,) is the gradients' global norm.
#include "operator.h"
#include "optimizer.h"

namespace bert {
namespace {

constexpr int RATES = 3, KINDS = 4;
enum Kind { WEIGHT, GRADIENT, MEAN, VARIANCE };

int number_of_parameters(const Attributes& attributes) { return get_int(attributes, "parameters"); }
int input_of(const Attributes& attributes, Kind kind, int parameter) {
  return 1 + kind * number_of_parameters(attributes) + parameter;
}

MXReturnValue parse_attributes(const Attributes& attributes, int* inputs, int* outputs) {
  return catch_exceptions([&] {
    *inputs = 1 + KINDS * number_of_parameters(attributes);
    *outputs = 1;
  });
}

MXReturnValue infer_types(const Attributes&, std::vector<int>* inputs, std::vector<int>* outputs) {
  return catch_exceptions([&] {
    for (size_t i = 0; i < inputs->size(); ++i)
      if (inputs->at(i) != mxnet::ext::kFloat32)
        throw std::invalid_argument("input " + std::to_string(i) + " is not float32");
    outputs->at(0) = mxnet::ext::kFloat32;
  });
}

MXReturnValue infer_shapes(const Attributes& attributes, std::vector<Shape>* inputs,
                           std::vector<Shape>* outputs) {
  return catch_exceptions([&] {
    const int number = number_of_parameters(attributes);
    if (inputs->at(0) != Shape{static_cast<unsigned>(number), RATES})
      throw std::invalid_argument("rates have the shape " + to_text(inputs->at(0)));
    for (Kind kind : {GRADIENT, MEAN, VARIANCE})
      for (int i = 0; i < number; ++i) {
        const Shape& shape = inputs->at(input_of(attributes, kind, i));
        const Shape& expected = inputs->at(input_of(attributes, WEIGHT, i));
        if (shape != expected)
          throw std::invalid_argument("parameter " + std::to_string(i) + " has the shape " +
                                      to_text(expected) + ", and what belongs to it " +
                                      to_text(shape));
      }
    outputs->at(0) = {1};
  });
}

MXReturnValue list_mutated_inputs(const Attributes& attributes, std::vector<int>* inputs) {
  return catch_exceptions([&] {
    for (Kind kind : {WEIGHT, MEAN, VARIANCE})
      for (int i = 0; i < number_of_parameters(attributes); ++i)
        inputs->push_back(input_of(attributes, kind, i));
  });
}

Adam read_rule(const Attributes& attributes) {
  Adam rule;
  rule.beta1 = get_double(attributes, "beta1");
  rule.beta2 = get_double(attributes, "beta2");
  rule.epsilon = get_float(attributes, "epsilon");
  rule.max_norm = get_float(attributes, "max_norm");
  rule.is_lamb = get_int(attributes, "is_lamb");
  if (!rule.is_lamb) return rule;
  rule.mean_correction = get_float(attributes, "mean_correction");
  rule.variance_correction = get_float(attributes, "variance_correction");
  rule.lower_bound = get_float(attributes, "lower_bound");
  rule.upper_bound = get_float(attributes, "upper_bound");
  return rule;
}

MXReturnValue forward(const Attributes& attributes, std::vector<MXTensor>* inputs,
                      std::vector<MXTensor>* outputs, const OpResource&) {
  return catch_exceptions([&] {
    std::vector<ParameterUpdate> parameters;
    const float* rates = inputs->at(0).data<float>();
    for (int i = 0; i < number_of_parameters(attributes); ++i, rates += RATES) {
      auto values = [&](Kind kind) {
        return inputs->at(input_of(attributes, kind, i)).data<float>();
      };
      const size_t size = inputs->at(input_of(attributes, WEIGHT, i)).size();
      parameters.push_back({values(WEIGHT), values(GRADIENT), values(MEAN), values(VARIANCE), size,
                            rates[0], rates[1], rates[2]});
    }
    *outputs->at(0).data<float>() = update(read_rule(attributes), parameters, number_of_threads);
  });
}

}  // namespace
}  // namespace bert

REGISTER_OP(bert_update)
    .setParseAttrs(bert::parse_attributes)
    .setInferType(bert::infer_types)
    .setInferShape(bert::infer_shapes)
    .setMutateInputs(bert::list_mutated_inputs)
    .setForward(bert::forward, "cpu");
