#include "encoder.h"

#include <stdexcept>

#include "backward.h"
#include "forward.h"
#include "quantized.h"

namespace bert {

std::pair<int, int> shape_of(const Sizes& sizes, int index) {
  const int units = sizes.units, hidden = sizes.hidden_size, narrow = sizes.embedding_size;
  if (index == embedding_projection(sizes)) return {units, narrow};
  switch (index) {
    case WORDS: return {sizes.vocab_size, narrow};
    case TYPES: return {sizes.token_types, narrow};
    case POSITIONS: return {sizes.max_length, narrow};
    case EMBEDDING_GAMMA:
    case EMBEDDING_BETA: return {1, narrow};
  }
  switch ((index - LAYERS) % LAYER_PARAMETERS) {
    case QUERY:
    case KEY:
    case VALUE:
    case PROJECTION: return {units, units};
    case HIDDEN: return {hidden, units};
    case OUT: return {units, hidden};
    case HIDDEN_BIAS: return {1, hidden};
    default: return {1, units};
  }
}

std::vector<int> matrices_of(const Sizes& sizes) {
  std::vector<int> indices;
  if (sizes.has_narrow_embeddings()) indices.push_back(embedding_projection(sizes));
  for (int layer = 0; layer < sizes.num_layers; ++layer)
    for (int matrix : {QUERY, KEY, VALUE, PROJECTION, HIDDEN, OUT})
      indices.push_back(index_of(layer, matrix));
  return indices;
}

namespace {

[[noreturn]] void throw_out_of_range(const char* what, int row, int number, int low, int high) {
  throw std::invalid_argument(std::string(what) + " in row " + std::to_string(row) +
                              " of the batch is " + std::to_string(number) + ", expected " +
                              std::to_string(low) + " to " + std::to_string(high));
}

}  // namespace

void check(const Batch& batch, const Sizes& sizes) {
  if (batch.size < 1 || batch.length < 1) throw std::invalid_argument("the batch is empty");
  if (batch.length > sizes.max_length)
    throw std::invalid_argument("the batch is " + std::to_string(batch.length) +
                                " tokens long, and the model has " +
                                std::to_string(sizes.max_length) + " positions");
  const int selected = static_cast<int>(batch.selected.size()) / batch.size;
  for (int row = 0; row < batch.size; ++row) {
    const int length = batch.lengths[row];
    if (length < 1 || length > batch.length)
      throw_out_of_range(LENGTH, row, length, 1, batch.length);
    for (int i = row * batch.length; i < row * batch.length + length; ++i) {
      if (batch.tokens[i] < 0 || batch.tokens[i] >= sizes.vocab_size)
        throw_out_of_range(TOKEN, row, batch.tokens[i], 0, sizes.vocab_size - 1);
      if (batch.segments[i] < 0 || batch.segments[i] >= sizes.token_types)
        throw_out_of_range(SEGMENT, row, batch.segments[i], 0, sizes.token_types - 1);
    }
    for (int i = row * selected; i < (row + 1) * selected; ++i)
      if (batch.selected[i] < 0 || batch.selected[i] >= length)
        throw_out_of_range(POSITION, row, batch.selected[i], 0, length - 1);
  }
}

namespace {

inline bool all_matrices(int) { return true; }

template <class T>
class TypedEncoder : public Encoder {
 public:
  std::unique_ptr<SavedActivations> forward(const Settings& settings, const Batch& batch,
                                            const std::vector<Parameter>& parameters, bool save,
                                            uint64_t seed, float* output) override {
    forward_weights_.refresh(settings.sizes, parameters, settings.threads, all_matrices);
    const PassContext context(settings, batch, parameters);
    std::unique_ptr<TypedSavedActivations<T>> saved;
    if (save) saved.reset(new TypedSavedActivations<T>(context, seed));
    ForwardPass<T, PackedWeights<T>>(context, forward_weights_, saved.get(), output).run();
    return saved;
  }

  void backward(const Settings& settings, const Batch& batch,
                const std::vector<Parameter>& parameters, SavedActivations& saved,
                const float* output_gradient, const std::vector<Gradient>& gradients) override {
    backward_weights_.refresh(settings.sizes, parameters, settings.threads, all_matrices);
    const PassContext context(settings, batch, parameters);
    BackwardPass<T>(context, backward_weights_, static_cast<TypedSavedActivations<T>&>(saved),
                    output_gradient, gradients)
        .run();
  }

 private:
  PackedWeights<T> forward_weights_{Direction::FORWARD}, backward_weights_{Direction::BACKWARD};
};

// What an int8 encoder computes attention in, and the products that stay in floating point.
#ifdef __AVX512BF16__
using FloatOfInt8 = Bfloat16;
#else
using FloatOfInt8 = float;
#endif

// For prediction alone: the products of the layers are of integers, those of attention are not.
class QuantizedEncoder : public Encoder {
 public:
  std::unique_ptr<SavedActivations> forward(const Settings& settings, const Batch& batch,
                                            const std::vector<Parameter>& parameters, bool save,
                                            uint64_t, float* output) override {
    if (save) throw_no_gradients();
    weights_.refresh(settings.sizes, parameters, settings.threads, settings.float_products);
    const PassContext context(settings, batch, parameters);
    ForwardPass<FloatOfInt8, QuantizedWeights<FloatOfInt8>>(context, weights_, nullptr, output)
        .run();
    return nullptr;
  }

  void backward(const Settings&, const Batch&, const std::vector<Parameter>&, SavedActivations&,
                const float*, const std::vector<Gradient>&) override {
    throw_no_gradients();
  }

 private:
  [[noreturn]] static void throw_no_gradients() {
    throw std::invalid_argument("int8 is for prediction: float32 and bfloat16 have gradients");
  }

  QuantizedWeights<FloatOfInt8> weights_;
};

}  // namespace

std::unique_ptr<Encoder> make_encoder(const std::string& dtype) {
  if (dtype == "float32") return std::unique_ptr<Encoder>(new TypedEncoder<float>);
#ifdef __AVX512BF16__
  if (dtype == "bfloat16") return std::unique_ptr<Encoder>(new TypedEncoder<Bfloat16>);
#endif
  if (dtype == "int8") return std::unique_ptr<Encoder>(new QuantizedEncoder);
  throw std::invalid_argument("dtype " + dtype + ": this library has no products of it");
}

}  // namespace bert
