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

// The inputs before the parameters. mode: see `read_mode`. Two more are optional: valid_length,
// without which nothing is padded, and positions, which select tokens.
enum Input { TOKEN_IDS, SEGMENT_IDS, MODE, FIRST_OPTIONAL };
constexpr unsigned SEED_BITS = 64;  // the length of mode, as in encoder.py

// An encoder, with its packed weights.
struct Model {
  std::mutex mutex;  // one pass at a time
  std::unique_ptr<Encoder> encoder;
};
// The encoders by the name of the model and by type.
class Models {
 public:
  // Makes the encoder where there is none yet. Symbols that were read from files may have the same
  // name: then their sizes tell them apart, or they share an encoder.
  std::shared_ptr<Model> find(const std::string& name, const std::string& dtype,
                              const Sizes& sizes) {
    std::lock_guard<std::mutex> lock(mutex_);
    const Shape shape = {unsigned(sizes.num_layers), unsigned(sizes.units),
                         unsigned(sizes.hidden_size), unsigned(sizes.embedding_size)};
    auto& entry = models_[{name, dtype + " " + to_text(shape)}];
    if (!entry) {
      auto model = std::make_shared<Model>();
      model->encoder = make_encoder(dtype);  // or throws
      entry = model;
    }
    return entry;
  }
  void forget(const std::string& name) {
    std::lock_guard<std::mutex> lock(mutex_);
    for (auto entry = models_.begin(); entry != models_.end();)
      entry = entry->first.first == name ? models_.erase(entry) : std::next(entry);
  }

 private:
  std::mutex mutex_;
  std::map<std::pair<std::string, std::string>, std::shared_ptr<Model>> models_;
};
Models models;

// ---- attributes ------------------------------------------------------------------------------

// MXNet's lib_api.h only carries strings: an operator gets its attributes as a map from strings to
// strings. So encoder.py and quantizer.py write lists as text, and these functions parse it.

// The attribute outputs: "state:column:scale" for each state, separated by spaces.
std::vector<Output> read_outputs(const std::string& text) {
  std::vector<Output> outputs;
  std::istringstream stream(text);
  stream.imbue(std::locale::classic());
  Output output;
  char colon;
  while (stream >> output.state >> colon >> output.column >> colon >> output.scale) {
    output.accumulate = false;
    for (const Output& before : outputs) output.accumulate |= before.column == output.column;
    outputs.push_back(output);
  }
  return outputs;
}

// The attribute kept: the numbers of the products that INT8 leaves in floating point, PRODUCTS a
// layer, separated by spaces.
std::vector<bool> read_float_products(const std::string& text, const Sizes& sizes) {
  std::vector<bool> float_products(static_cast<size_t>(PRODUCTS) * sizes.num_layers);
  std::istringstream stream(text);
  stream.imbue(std::locale::classic());
  for (size_t number; stream >> number;) {
    if (number >= float_products.size())
      throw std::invalid_argument("attribute kept: there is no product " + std::to_string(number));
    float_products[number] = true;
  }
  return float_products;
}

// The attribute activation: as `BertConfig` has it.
Activation read_activation(const std::string& name) {
  if (name == "gelu") return Activation::GELU;
  if (name == "gelu_new") return Activation::GELU_NEW;
  if (name == "relu") return Activation::RELU;
  throw std::invalid_argument("attribute activation: " + name +
                              ", expected gelu, gelu_new or relu");
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
  // symbols that are older than these two attributes lack them
  sizes.embedding_size =
      attributes.count("embedding_size") ? get_int(attributes, "embedding_size") : sizes.units;
  if (sizes.embedding_size > sizes.units)
    throw std::invalid_argument(
        "attribute embedding_size: " + std::to_string(sizes.embedding_size) + " found, expected " +
        std::to_string(sizes.units) + " or less");
  if (attributes.count("activation"))
    settings.activation = read_activation(get(attributes, "activation"));
  settings.epsilon = get_float(attributes, "epsilon");
  settings.dropout = get_float(attributes, "dropout");
  settings.outputs = read_outputs(get(attributes, "outputs"));
  settings.output_width = get_int(attributes, "output_width");
  settings.float_products = read_float_products(get(attributes, "kept"), sizes);
  settings.threads = number_of_threads;
  return settings;
}

// Older symbols lack the attributes first_only and has_positions.
bool is_set(const Attributes& attributes, const char* name) {
  return attributes.count(name) && get_int(attributes, name);
}
bool has_lengths(const Attributes& attributes) { return is_set(attributes, "has_valid_length"); }
bool has_positions(const Attributes& attributes) { return is_set(attributes, "has_positions"); }
int positions_input(const Attributes& attributes) {
  return FIRST_OPTIONAL + has_lengths(attributes);
}
int first_parameter(const Attributes& attributes) {
  return positions_input(attributes) + has_positions(attributes);
}

// Sets `Settings::selected`: the columns of positions, or with first_only the first token alone.
void select_tokens(Settings& settings, const Attributes& attributes, unsigned columns) {
  const bool is_first_only = is_set(attributes, "first_only");
  if (!is_first_only && !has_positions(attributes)) return;
  if (settings.outputs.size() != 1 || settings.outputs[0].state != settings.sizes.num_layers)
    throw std::invalid_argument(std::string(is_first_only ? "attribute first_only" : "positions") +
                                ": for the last state alone");
  settings.selected = is_first_only ? 1 : static_cast<int>(columns);
}

MXReturnValue parse_attributes(const Attributes& attributes, int* inputs, int* outputs) {
  return catch_exceptions([&] {
    Settings settings = read_settings(attributes);
    select_tokens(settings, attributes, 1);  // or throws
    *inputs = first_parameter(attributes) + number_of_parameters(settings.sizes);
    *outputs = 1;
  });
}

// ---- types and shapes ------------------------------------------------------------------------

std::string input_name(const Attributes& attributes, int input) {
  const int parameter = input - first_parameter(attributes);
  if (parameter >= 0) return "parameter " + std::to_string(parameter);
  if (has_positions(attributes) && input == positions_input(attributes)) return "positions";
  const char* const names[] = {"token_ids", "segment_ids", "mode", "valid_length"};
  return names[input];
}

// The inputs of a batch hold integers, in any type of lib_api.h that holds them, but float16.
bool is_type_of_ids(int type) {
  return type == mxnet::ext::kFloat32 || type == mxnet::ext::kFloat64 ||
         type == mxnet::ext::kInt32 || type == mxnet::ext::kInt64 || type == mxnet::ext::kInt8 ||
         type == mxnet::ext::kUint8;
}

MXReturnValue infer_types(const Attributes& attributes, std::vector<int>* inputs,
                          std::vector<int>* outputs) {
  return catch_exceptions([&] {
    for (int i = 0; i < static_cast<int>(inputs->size()); ++i) {
      int& type = inputs->at(i);
      if (type < 0) type = mxnet::ext::kFloat32;
      const bool holds_ids = i != MODE && i < first_parameter(attributes);
      if (type != mxnet::ext::kFloat32 && !(holds_ids && is_type_of_ids(type)))
        throw std::invalid_argument(
            "bert_encoder: " + input_name(attributes, i) +
            (holds_ids ? ": expected int8, uint8, int32, int64, float32 or float64"
                       : ": expected float32"));
    }
    outputs->at(0) = mxnet::ext::kFloat32;
  });
}

// Sets the shape of an input where it is unknown; throws where it is another one.
void require_shape(std::vector<Shape>& shapes, size_t input, const Shape& expected,
                   const Attributes& attributes) {
  Shape& shape = shapes.at(input);
  if (shape.empty()) shape = expected;
  if (shape != expected)
    throw std::invalid_argument("bert_encoder: " + input_name(attributes, static_cast<int>(input)) +
                                ": shape " + to_text(shape) + ", expected " + to_text(expected));
}

// The columns of positions; 0 where there are none.
unsigned read_positions_shape(const Attributes& attributes, const std::vector<Shape>& shapes) {
  if (!has_positions(attributes)) return 0;
  const Shape& shape = shapes.at(positions_input(attributes));
  const unsigned texts = shapes.at(TOKEN_IDS)[0];
  if (shape.size() != 2 || shape[0] != texts || shape[1] < 1)
    throw std::invalid_argument("bert_encoder: positions have the shape " + to_text(shape) +
                                ", expected (" + std::to_string(texts) + ", 1 or more)");
  return shape[1];
}

MXReturnValue infer_shapes(const Attributes& attributes, std::vector<Shape>* inputs,
                           std::vector<Shape>* outputs) {
  return catch_exceptions([&] {
    Settings settings = read_settings(attributes);
    const Shape tokens = inputs->at(TOKEN_IDS);
    if (tokens.size() != 2)
      throw std::invalid_argument("bert_encoder: token_ids have the shape " + to_text(tokens) +
                                  ", expected (batch, length)");
    require_shape(*inputs, SEGMENT_IDS, tokens, attributes);
    require_shape(*inputs, MODE, {SEED_BITS}, attributes);
    if (has_lengths(attributes)) require_shape(*inputs, FIRST_OPTIONAL, {tokens[0]}, attributes);
    const unsigned columns = read_positions_shape(attributes, *inputs);
    select_tokens(settings, attributes, columns);
    for (int index = 0; index < number_of_parameters(settings.sizes); ++index) {
      const auto shape = shape_of(settings.sizes, index);
      const unsigned rows = shape.first, columns = shape.second;
      const size_t input = first_parameter(attributes) + index;
      // One row is a matrix where MXNet says so, and a vector elsewhere.
      if (rows > 1 || inputs->at(input).size() == 2)
        require_shape(*inputs, input, {rows, columns}, attributes);
      else
        require_shape(*inputs, input, {columns}, attributes);
    }
    outputs->at(0) = {tokens[0], settings.selected ? settings.selected : tokens[1],
                      static_cast<unsigned>(settings.output_width)};
  });
}

// ---- computing -------------------------------------------------------------------------------

// The first lengths[row] numbers of each row; 0 for the padding, where anything may stand.
template <class Number>
std::vector<int> to_ids(const Number* numbers, const char* what, int per_row,
                        const std::vector<int>& lengths) {
  std::vector<int> ids(lengths.size() * per_row);
  for (size_t row = 0; row < lengths.size(); ++row) {
    // `check` refuses a length below 0 or above per_row later
    const size_t start = row * per_row, end = start + std::max(0, std::min(lengths[row], per_row));
    for (size_t i = start; i < end; ++i) {
      const double number = static_cast<double>(numbers[i]);
      if (!(number >= INT_MIN && number <= INT_MAX) || number != std::floor(number)) {
        std::ostringstream text;
        text.imbue(std::locale::classic());
        text.precision(std::numeric_limits<double>::max_digits10);
        text << what << " in row " << row << " of the batch is " << number
             << ", expected a whole number of 32 bits";
        throw std::invalid_argument(text.str());
      }
      ids[i] = static_cast<int>(number);
    }
  }
  return ids;
}

std::vector<int> read_ids(MXTensor& tensor, const char* what, int per_row,
                          const std::vector<int>& lengths) {
  switch (tensor.dtype) {
    case mxnet::ext::kFloat64: return to_ids(tensor.data<double>(), what, per_row, lengths);
    case mxnet::ext::kInt32: return to_ids(tensor.data<int32_t>(), what, per_row, lengths);
    case mxnet::ext::kInt64: return to_ids(tensor.data<int64_t>(), what, per_row, lengths);
    case mxnet::ext::kInt8: return to_ids(tensor.data<int8_t>(), what, per_row, lengths);
    case mxnet::ext::kUint8: return to_ids(tensor.data<uint8_t>(), what, per_row, lengths);
    default: return to_ids(tensor.data<float>(), what, per_row, lengths);
  }
}

// Reads the batch, and sets what it selects in the settings.
Batch read_batch(const Attributes& attributes, std::vector<MXTensor>& inputs, Settings& settings) {
  Batch batch;
  batch.size = static_cast<int>(inputs[TOKEN_IDS].shape[0]);
  batch.length = static_cast<int>(inputs[TOKEN_IDS].shape[1]);
  const std::vector<int> ones(batch.size, 1);
  batch.lengths = has_lengths(attributes) ? read_ids(inputs[FIRST_OPTIONAL], LENGTH, 1, ones)
                                          : std::vector<int>(batch.size, batch.length);
  batch.tokens = read_ids(inputs[TOKEN_IDS], TOKEN, batch.length, batch.lengths);
  batch.segments = read_ids(inputs[SEGMENT_IDS], SEGMENT, batch.length, batch.lengths);
  const int positions = positions_input(attributes);
  const bool are_given = has_positions(attributes);
  select_tokens(settings, attributes, are_given ? inputs[positions].shape[1] : 0);
  const int selected = settings.selected;
  batch.selected.resize(static_cast<size_t>(batch.size) * selected);
  if (are_given)
    batch.selected =
        read_ids(inputs[positions], POSITION, selected, std::vector<int>(batch.size, selected));
  check(batch, settings.sizes);
  return batch;
}

// The input mode is MXNet's Dropout(64 ones, p=1/2). Outside of training that is 64 ones; in
// training each of them becomes 0 or 2: 64 random bits, the seed of our dropout. So one graph
// serves for both, and mx.random.seed holds for this operator too.
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
    return catch_exceptions([&] {
      Settings settings = read_settings(attributes_);
      const Batch batch = read_batch(attributes_, *inputs, settings);
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
    return catch_exceptions([&] {
      Settings settings = read_settings(attributes_);
      std::vector<MXTensor> forward(inputs->begin() + 1, inputs->end() - 1);
      const Batch batch = read_batch(attributes_, forward, settings);
      const auto parameters = read_parameters(forward.data(), settings);
      std::lock_guard<std::mutex> lock(model_->mutex);
      if (!saved_) {  // a gradient outside of training: forward saved nothing
        settings.dropout = 0;
        const size_t rows = std::max(batch.tokens.size(), batch.selected.size());
        std::vector<float> unused(rows * settings.output_width);
        saved_ = model_->encoder->forward(settings, batch, parameters, true, 0, unused.data());
      }
      std::vector<Gradient> gradients;
      for (size_t i = first_parameter(attributes_); i < outputs->size(); ++i)
        gradients.push_back(accumulated_gradients().gradient_at(outputs->at(i).data<float>()));
      model_->encoder->backward(settings, batch, parameters, *saved_, inputs->at(0).data<float>(),
                                gradients);
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
  std::unique_ptr<SavedActivations> saved_;
};

MXReturnValue create_state(const Attributes& attributes, const mxnet::ext::MXContext&,
                           const std::vector<Shape>&, const std::vector<int>,
                           mxnet::ext::CustomStatefulOp** state) {
  return catch_exceptions([&] {
    *state = mxnet::ext::CustomStatefulOp::create<EncoderOperator>(attributes);
    (*state)->ignore_warn = true;
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
