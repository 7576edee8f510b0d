// BERT's embeddings and transformer layers as one function and its gradient, on tokens that are
// packed: no padding is computed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace bert {

struct Sizes {
  int num_layers = 0, units = 0, hidden_size = 0, num_heads = 0;
  int vocab_size = 0, token_types = 0, max_length = 0;
  int head_size() const { return units / num_heads; }
};

// A hidden state that goes into the output: 0 is what goes into the first layer, n what comes out
// of layer n. It is multiplied by `scale` and stands from `column` on.
struct Output {
  int state;
  int column;
  float scale;
  bool add;  // to a state that stands there already
};

struct Settings {
  Sizes sizes;
  float epsilon = 0, dropout = 0;
  std::vector<Output> outputs;  // in the order of their states
  std::vector<bool> kept;       // of PRODUCTS of each layer: which INT8 leaves alone; or empty
  int output_width = 0;
  // The output has a row for the first token of each sequence alone, (batch, output_width), of the
  // last state: the last layer computes no other tokens behind its attention.
  bool first_only = false;
  int threads = 1;

  bool is_of_firsts(int layer) const { return first_only && layer == sizes.num_layers - 1; }
};

// A parameter as MXNet hands it over: `version` changes when it is written.
struct Parameter {
  const float* values;
  size_t version;
};

// Places of parameters: those before the layers, then LAYER_PARAMETERS of each layer.
enum EmbeddingParameter { WORDS, TYPES, POSITIONS, EMBEDDING_GAMMA, EMBEDDING_BETA, LAYERS };
enum LayerParameter {
  QUERY,
  QUERY_BIAS,
  KEY,
  KEY_BIAS,
  VALUE,
  VALUE_BIAS,
  PROJECTION,
  PROJECTION_BIAS,
  ATTENTION_GAMMA,
  ATTENTION_BETA,
  HIDDEN,
  HIDDEN_BIAS,
  OUT,
  OUT_BIAS,
  OUT_GAMMA,
  OUT_BETA,
  LAYER_PARAMETERS
};
inline int place_of(int layer, int parameter) {
  return LAYERS + LAYER_PARAMETERS * layer + parameter;
}

// Products that INT8 may leave to floating point, one by one: those of a layer.
enum Product { QUERY_KEY_VALUE, PROJECT, EXPAND, CONTRACT, PRODUCTS };
inline Product product_of(int parameter) {
  return parameter == PROJECTION ? PROJECT
         : parameter == HIDDEN   ? EXPAND
         : parameter == OUT      ? CONTRACT
                                 : QUERY_KEY_VALUE;
}

// (rows, columns) of the parameter at `place`; a vector has one row.
std::pair<int, int> shape_of(const Sizes& sizes, int place);
inline int number_of_parameters(const Sizes& sizes) { return place_of(sizes.num_layers, 0); }

// (batch, length) token and segment ids, and for each row how many of them count.
struct Batch {
  int size = 0, length = 0;
  std::vector<int> tokens, segments, lengths;
};

// What errors call the numbers of a batch.
constexpr char TOKEN[] = "a token id", SEGMENT[] = "a segment id", LENGTH[] = "valid_length";

// Raises std::invalid_argument that names the row of an id or a length that can't be.
void check(const Batch& batch, const Sizes& sizes);

// What backward needs of a forward pass.
class Saved {
 public:
  virtual ~Saved() = default;
};

// Weights in the order in which products read them; they are brought into it again when they have
// changed. One for each model and type, kept from call to call.
class Encoder {
 public:
  virtual ~Encoder() = default;

  // output (batch, length, output_width), zero behind the length of a row, or as `first_only` has
  // it. With `keep` it returns what backward needs. seed: of the dropout; without `keep` nothing
  // is dropped.
  virtual std::unique_ptr<Saved> forward(const Settings& settings, const Batch& batch,
                                         const std::vector<Parameter>& parameters, bool keep,
                                         uint64_t seed, float* output) = 0;

  // Gradients of all parameters out of that of the output. add: for each, whether it is added to
  // what stands there.
  virtual void backward(const Settings& settings, const Batch& batch,
                        const std::vector<Parameter>& parameters, Saved& saved,
                        const float* output_gradient, const std::vector<float*>& gradients,
                        const std::vector<bool>& add) = 0;
};

// dtype: what products multiply, "float32", "bfloat16", or "int8", which has no gradients. Raises
// std::invalid_argument for others.
std::unique_ptr<Encoder> make_encoder(const std::string& dtype);

}  // namespace bert
