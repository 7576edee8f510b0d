// The operator bert_encoder.
#include <algorithm>
#include <climits>
#include <cmath>
#include <limits>
#include <map>
#include <mutex>
#include <sstream>

#include "accumulated_gradients.h"
#include "encoder.h"
#include "operator.h"

namespace bert {
namespace {

// Inputs before the parameters. valid_length may be left out: then nothing is padded. mode: see
// `read_mode`.
enum Input { TOKEN_IDS, SEGMENT_IDS, MODE, VALID_LENGTH };
const char* const INPUT_NAMES[] = {"token_ids", "segment_ids", "mode", "valid_length"};
constexpr unsigned SEED_BITS = 64;  // the length of the mode, as in encoder.py

// The encoders, with their packed weights, by model and type.
struct Model {
  std::mutex mutex;  // one pass at a time
  std::unique_ptr<Encoder> encoder;
};
class Models {
 public:
  // A name may come twice, out of a file: then the sizes tell which one is meant, or two share one.
  std::shared_ptr<Model> find(const std::string& name, const std::string& dtype,
                              const Sizes& sizes) {
    std::lock_guard<std::mutex> lock(mutex_);
    auto& model = models_[{name, dtype + " " +
                                     show({unsigned(sizes.num_layers), unsigned(sizes.units),
                                           unsigned(sizes.hidden_size)})}];
    if (!model) {
      auto made = std::make_shared<Model>();
      made->encoder = make_encoder(dtype);  // or throws
      model = made;
    }
    return model;
  }
  void forget(const std::string& name) {
    std::lock_guard<std::mutex> lock(mutex_);
    for (auto one = models_.begin(); one != models_.end();)
      one = one->first.first == name ? models_.erase(one) : std::next(one);
  }

 private:
  std::mutex mutex_;
  std::map<std::pair<std::string, std::string>, std::shared_ptr<Model>> models_;
};
Models models;

// ---- attributes ------------------------------------------------------------------------------

// outputs: "state:column:scale", one after the other with a space between.
std::vector<Output> read_outputs(const std::string& text) {
  std::vector<Output> outputs;
  std::istringstream stream(text);
  stream.imbue(std::locale::classic());
  Output one;
  char colon;
  while (stream >> one.state >> colon >> one.column >> colon >> one.scale) {
    one.add = false;
    for (const Output& before : outputs) one.add |= before.column == one.column;
    outputs.push_back(one);
  }
  return outputs;
}

// kept: numbers, PRODUCTS a layer, with a space between.
std::vector<bool> read_kept(const std::string& text, const Sizes& sizes) {
  std::vector<bool> kept(static_cast<size_t>(PRODUCTS) * sizes.num_layers);
  std::istringstream stream(text);
  stream.imbue(std::locale::classic());
  for (size_t number; stream >> number;) {
    if (number >= kept.size())
      throw std::invalid_argument("attribute kept: there is no product " + std::to_string(number));
    kept[number] = true;
  }
  return kept;
}

Settings read_settings(const Attributes& attributes) {
  Settings settings;
  Sizes& sizes = settings.sizes;
  sizes.num_layers = get_int(attributes, "num_layers");
  sizes.units = get_int(attributes, "units");
  sizes.hidden_size = get_int(attributes, "hidden_size");
  sizes.num_heads = get_int(attributes, "num_heads");
  sizes.vocab_size = get_int(attributes, "vocab_size");
  sizes.token_types = get_int(attributes, "token_types");
  sizes.max_length = get_int(attributes, "max_length");
  settings.epsilon = get_float(attributes, "epsilon");
  settings.dropout = get_float(attributes, "dropout");
  settings.outputs = read_outputs(get(attributes, "outputs"));
  settings.output_width = get_int(attributes, "output_width");
  // symbols of before it existed have none
  settings.first_only = attributes.count("first_only") && get_int(attributes, "first_only");
  if (settings.first_only &&
      (settings.outputs.size() != 1 || settings.outputs[0].state != sizes.num_layers))
    throw std::invalid_argument("attribute first_only: for the last state alone");
  settings.kept = read_kept(get(attributes, "kept"), sizes);
  settings.threads = number_of_threads;
  return settings;
}

bool has_lengths(const Attributes& attributes) { return get_int(attributes, "has_valid_length"); }
int first_parameter(const Attributes& attributes) { return VALID_LENGTH + has_lengths(attributes); }

MXReturnValue parse_attributes(const Attributes& attributes, int* inputs, int* outputs) {
  return guarded([&] {
    *inputs = first_parameter(attributes) + number_of_parameters(read_settings(attributes).sizes);
    *outputs = 1;
  });
}

// ---- types and shapes ------------------------------------------------------------------------

std::string name_of(const Attributes& attributes, int input) {
  const int parameter = input - first_parameter(attributes);
  return parameter < 0 ? INPUT_NAMES[input] : "parameter " + std::to_string(parameter);
}

// The inputs of a batch hold whole numbers, in any type of lib_api.h that has them, but float16.
bool is_type_of_ids(int type) {
  return type == mxnet::ext::kFloat32 || type == mxnet::ext::kFloat64 ||
         type == mxnet::ext::kInt32 || type == mxnet::ext::kInt64 || type == mxnet::ext::kInt8 ||
         type == mxnet::ext::kUint8;
}

MXReturnValue infer_types(const Attributes& attributes, std::vector<int>* inputs,
                          std::vector<int>* outputs) {
  return guarded([&] {
    for (int i = 0; i < static_cast<int>(inputs->size()); ++i) {
      int& type = inputs->at(i);
      if (type < 0) type = mxnet::ext::kFloat32;
      const bool holds_ids = i != MODE && i < first_parameter(attributes);
      if (type != mxnet::ext::kFloat32 && !(holds_ids && is_type_of_ids(type)))
        throw std::invalid_argument(
            "bert_encoder: " + name_of(attributes, i) +
            (holds_ids ? ": int8, uint8, int32, int64, float32 or float64 expected"
                       : ": float32 expected"));
    }
    outputs->at(0) = mxnet::ext::kFloat32;
  });
}

// Takes over the shape that an input has to have, or raises.
void expect(std::vector<Shape>& shapes, size_t input, const Shape& expected,
            const Attributes& attributes) {
  Shape& found = shapes.at(input);
  if (found.empty()) found = expected;
  if (found != expected)
    throw std::invalid_argument("bert_encoder: " + name_of(attributes, static_cast<int>(input)) +
                                ": shape " + show(found) + ", " + show(expected) + " expected");
}

MXReturnValue infer_shapes(const Attributes& attributes, std::vector<Shape>* inputs,
                           std::vector<Shape>* outputs) {
  return guarded([&] {
    const Settings settings = read_settings(attributes);
    const Shape tokens = inputs->at(TOKEN_IDS);
    if (tokens.size() != 2)
      throw std::invalid_argument("bert_encoder: token_ids have the shape " + show(tokens) +
                                  ", (batch, length) expected");
    expect(*inputs, SEGMENT_IDS, tokens, attributes);
    expect(*inputs, MODE, {SEED_BITS}, attributes);
    if (has_lengths(attributes)) expect(*inputs, VALID_LENGTH, {tokens[0]}, attributes);
    for (int place = 0; place < number_of_parameters(settings.sizes); ++place) {
      const auto shape = shape_of(settings.sizes, place);
      const unsigned rows = shape.first, columns = shape.second;
      const size_t input = first_parameter(attributes) + place;
      // A matrix of one row is a matrix where MXNet says so.
      if (rows > 1 || inputs->at(input).size() == 2)
        expect(*inputs, input, {rows, columns}, attributes);
      else
        expect(*inputs, input, {columns}, attributes);
    }
    outputs->at(0) = {tokens[0], settings.first_only ? 1 : tokens[1],
                      static_cast<unsigned>(settings.output_width)};
  });
}

// ---- computing -------------------------------------------------------------------------------

// The first used[row] numbers of each row; behind them, where anything may stand, 0.
template <class Number>
std::vector<int> to_ids(const Number* numbers, const char* what, int per_row,
                        const std::vector<int>& used) {
  std::vector<int> ids(used.size() * per_row);
  for (size_t row = 0; row < used.size(); ++row) {
    // a length that can't be, below 0 or too large, is refused later, by `check`
    const size_t start = row * per_row, end = start + std::max(0, std::min(used[row], per_row));
    for (size_t i = start; i < end; ++i) {
      const double number = static_cast<double>(numbers[i]);
      if (!(number >= INT_MIN && number <= INT_MAX) || number != std::floor(number)) {
        std::ostringstream text;
        text.imbue(std::locale::classic());
        text.precision(std::numeric_limits<double>::max_digits10);
        text << what << " in row " << row << " of the batch is " << number
             << ", a whole number of 32 bits expected";
        throw std::invalid_argument(text.str());
      }
      ids[i] = static_cast<int>(number);
    }
  }
  return ids;
}

std::vector<int> read_ids(MXTensor& tensor, const char* what, int per_row,
                          const std::vector<int>& used) {
  switch (tensor.dtype) {
    case mxnet::ext::kFloat64: return to_ids(tensor.data<double>(), what, per_row, used);
    case mxnet::ext::kInt32: return to_ids(tensor.data<int32_t>(), what, per_row, used);
    case mxnet::ext::kInt64: return to_ids(tensor.data<int64_t>(), what, per_row, used);
    case mxnet::ext::kInt8: return to_ids(tensor.data<int8_t>(), what, per_row, used);
    case mxnet::ext::kUint8: return to_ids(tensor.data<uint8_t>(), what, per_row, used);
    default: return to_ids(tensor.data<float>(), what, per_row, used);
  }
}

Batch read_batch(const Attributes& attributes, std::vector<MXTensor>& inputs, const Sizes& sizes) {
  Batch batch;
  batch.size = static_cast<int>(inputs[TOKEN_IDS].shape[0]);
  batch.length = static_cast<int>(inputs[TOKEN_IDS].shape[1]);
  const std::vector<int> ones(batch.size, 1);
  batch.lengths = has_lengths(attributes) ? read_ids(inputs[VALID_LENGTH], LENGTH, 1, ones)
                                          : std::vector<int>(batch.size, batch.length);
  batch.tokens = read_ids(inputs[TOKEN_IDS], TOKEN, batch.length, batch.lengths);
  batch.segments = read_ids(inputs[SEGMENT_IDS], SEGMENT, batch.length, batch.lengths);
  check(batch, sizes);
  return batch;
}

// The mode is Dropout(64 ones, p=1/2) of MXNet. Outside of training that is 64 ones; in training
// each is 0 or 2, 64 random bits, which seed the dropout. So one graph serves for both, and
// mx.random.seed for all.
struct Mode {
  bool is_training;
  uint64_t seed;
};
Mode read_mode(MXTensor& tensor) {
  const float* values = tensor.data<float>();
  Mode mode = {values[0] != 1, 0};
  for (unsigned i = 0; i < SEED_BITS; ++i) mode.seed |= static_cast<uint64_t>(values[i] > 1) << i;
  return mode;
}

class EncoderOperator : public mxnet::ext::CustomStatefulOp {
 public:
  explicit EncoderOperator(Attributes attributes)
      : attributes_(std::move(attributes)),
        model_(models.find(get(attributes_, "model"), get(attributes_, "dtype"),
                           read_settings(attributes_).sizes)) {}

  MXReturnValue Forward(std::vector<MXTensor>* inputs, std::vector<MXTensor>* outputs,
                        const OpResource&) override {
    return guarded([&] {
      const Settings settings = read_settings(attributes_);
      const Batch batch = read_batch(attributes_, *inputs, settings.sizes);
      const Mode mode = read_mode(inputs->at(MODE));
      std::lock_guard<std::mutex> lock(model_->mutex);
      saved_.reset();
      saved_ = model_->encoder->forward(settings, batch, read_parameters(inputs->data(), settings),
                                        mode.is_training, mode.seed, outputs->at(0).data<float>());
    });
  }

  // inputs: the gradient of the output, the inputs of forward, its output.
  MXReturnValue Backward(std::vector<MXTensor>* inputs, std::vector<MXTensor>* outputs,
                         const OpResource&) override {
    return guarded([&] {
      Settings settings = read_settings(attributes_);
      std::vector<MXTensor> forward(inputs->begin() + 1, inputs->end() - 1);
      const Batch batch = read_batch(attributes_, forward, settings.sizes);
      const auto parameters = read_parameters(forward.data(), settings);
      std::lock_guard<std::mutex> lock(model_->mutex);
      if (!saved_) {  // a gradient outside of training: forward kept nothing
        settings.dropout = 0;
        std::vector<float> unused(batch.tokens.size() * settings.output_width);
        saved_ = model_->encoder->forward(settings, batch, parameters, true, 0, unused.data());
      }
      std::vector<float*> gradients;
      std::vector<bool> add;
      for (size_t i = first_parameter(attributes_); i < outputs->size(); ++i) {
        gradients.push_back(outputs->at(i).data<float>());
        add.push_back(added_gradients().has(gradients.back()));
      }
      model_->encoder->backward(settings, batch, parameters, *saved_, inputs->at(0).data<float>(),
                                gradients, add);
    });
  }

 private:
  std::vector<Parameter> read_parameters(MXTensor* inputs, const Settings& settings) const {
    std::vector<Parameter> parameters;
    MXTensor* tensor = inputs + first_parameter(attributes_);
    for (int i = 0; i < number_of_parameters(settings.sizes); ++i, ++tensor)
      parameters.push_back({tensor->data<float>(), tensor->verID});
    return parameters;
  }

  Attributes attributes_;
  std::shared_ptr<Model> model_;
  std::unique_ptr<Saved> saved_;
};

MXReturnValue create_state(const Attributes& attributes, const mxnet::ext::MXContext&,
                           const std::vector<Shape>&, const std::vector<int>,
                           mxnet::ext::CustomStatefulOp** created) {
  return guarded([&] {
    *created = mxnet::ext::CustomStatefulOp::create<EncoderOperator>(attributes);
    (*created)->ignore_warn = true;
  });
}

}  // namespace
}  // namespace bert

REGISTER_OP(bert_encoder)
    .setParseAttrs(bert::parse_attributes)
    .setInferType(bert::infer_types)
    .setInferShape(bert::infer_shapes)
    .setCreateOpState(bert::create_state, "cpu");

extern "C" void bert_kernels_forget(const char* model) { bert::models.forget(model); }
