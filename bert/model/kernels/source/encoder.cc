#include "encoder.h"

#include <stdexcept>

#include "backward.h"
#include "forward.h"
#include "quantized.h"

namespace bert {

std::pair<int, int> shape_of(const Sizes& sizes, int place) {
  const int units = sizes.units, hidden = sizes.hidden_size;
  switch (place) {
    case WORDS: return {sizes.vocab_size, units};
    case TYPES: return {sizes.token_types, units};
    case POSITIONS: return {sizes.max_length, units};
    case EMBEDDING_GAMMA:
    case EMBEDDING_BETA: return {1, units};
  }
  switch ((place - LAYERS) % LAYER_PARAMETERS) {
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

namespace {

void refuse(const char* what, int row, int found, int low, int high) {
  throw std::invalid_argument(std::string(what) + " in row " + std::to_string(row) +
                              " of the batch is " + std::to_string(found) + ", " +
                              std::to_string(low) + " to " + std::to_string(high) + " expected");
}

}  // namespace

void check(const Batch& batch, const Sizes& sizes) {
  if (batch.size < 1 || batch.length < 1) throw std::invalid_argument("the batch is empty");
  if (batch.length > sizes.max_length)
    throw std::invalid_argument("the batch is " + std::to_string(batch.length) +
                                " tokens long, and the model has " +
                                std::to_string(sizes.max_length) + " positions");
  for (int row = 0; row < batch.size; ++row) {
    const int length = batch.lengths[row];
    if (length < 1 || length > batch.length) refuse(LENGTH, row, length, 1, batch.length);
    for (int i = row * batch.length; i < row * batch.length + length; ++i) {
      if (batch.tokens[i] < 0 || batch.tokens[i] >= sizes.vocab_size)
        refuse(TOKEN, row, batch.tokens[i], 0, sizes.vocab_size - 1);
      if (batch.segments[i] < 0 || batch.segments[i] >= sizes.token_types)
        refuse(SEGMENT, row, batch.segments[i], 0, sizes.token_types - 1);
    }
  }
}

inline bool all_matrices(int, int) { return true; }

template <class T>
class TypedEncoder : public Encoder {
 public:
  std::unique_ptr<Saved> forward(const Settings& settings, const Batch& batch,
                                 const std::vector<Parameter>& parameters, bool keep, uint64_t seed,
                                 float* output) override {
    forward_weights_.refresh(settings.sizes, parameters, settings.threads, all_matrices);
    const Tokens tokens(batch);
    std::unique_ptr<SavedPass<T>> saved;
    if (keep) saved.reset(new SavedPass<T>(tokens, settings, seed));
    ForwardPass<T, PackedWeights<T>>(settings, batch, tokens, parameters, forward_weights_,
                                     saved.get(), output)
        .run();
    return saved;
  }

  void backward(const Settings& settings, const Batch& batch,
                const std::vector<Parameter>& parameters, Saved& saved,
                const float* output_gradient, const std::vector<float*>& gradients,
                const std::vector<bool>& add) override {
    backward_weights_.refresh(settings.sizes, parameters, settings.threads, all_matrices);
    const Tokens tokens(batch);
    BackwardPass<T>(settings, batch, tokens, parameters, backward_weights_,
                    static_cast<SavedPass<T>&>(saved), output_gradient, gradients, add)
        .run();
  }

 private:
  PackedWeights<T> forward_weights_{false}, backward_weights_{true};
};

#ifdef __AVX512BF16__
using Attended = Bfloat16;
#else
using Attended = float;
#endif

// Prediction alone: the products of the layers are of whole numbers, attention's are not.
class QuantizedEncoder : public Encoder {
 public:
  std::unique_ptr<Saved> forward(const Settings& settings, const Batch& batch,
                                 const std::vector<Parameter>& parameters, bool keep, uint64_t,
                                 float* output) override {
    if (keep) refuse_training();
    weights_.refresh(settings.sizes, parameters, settings.threads, settings.kept);
    const Tokens tokens(batch);
    ForwardPass<Attended, QuantizedWeights<Attended>>(settings, batch, tokens, parameters, weights_,
                                                      nullptr, output)
        .run();
    return nullptr;
  }

  void backward(const Settings&, const Batch&, const std::vector<Parameter>&, Saved&, const float*,
                const std::vector<float*>&, const std::vector<bool>&) override {
    refuse_training();
  }

 private:
  [[noreturn]] static void refuse_training() {
    throw std::invalid_argument("int8 is for prediction: float32 and bfloat16 have gradients");
  }

  QuantizedWeights<Attended> weights_;
};

std::unique_ptr<Encoder> make_encoder(const std::string& dtype) {
  if (dtype == "float32") return std::unique_ptr<Encoder>(new TypedEncoder<float>);
#ifdef __AVX512BF16__
  if (dtype == "bfloat16") return std::unique_ptr<Encoder>(new TypedEncoder<Bfloat16>);
#endif
  if (dtype == "int8") return std::unique_ptr<Encoder>(new QuantizedEncoder);
  throw std::invalid_argument("dtype " + dtype + ": this library has no products of it");
}

}  // namespace bert
