// BERT's embeddings and transformer layers as one function and its gradient. The tokens of a batch
// are packed: padding is not computed.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gradient.h"

namespace bert {

struct Sizes {
  int num_layers = 0, units = 0, hidden_size = 0, num_heads = 0;
  int embedding_size = 0;  // units, or fewer: then a dense layer follows the embeddings
  int vocab_size = 0, token_types = 0, max_length = 0;
  int head_size() const { return units / num_heads; }
  bool has_narrow_embeddings() const { return embedding_size != units; }
};

// Of the hidden layer of the feed-forward block (activations.h).
enum class Activation { GELU, GELU_NEW, RELU };

// A hidden state that goes into the output, multiplied by `scale`, from `column` on. State 0 is the
// input of the first layer, state n the output of the n-th.
struct Output {
  int state;
  int column;
  float scale;
  bool accumulate;  // an earlier state has written these columns already
};

struct Settings {
  Sizes sizes;
  Activation activation = Activation::GELU;
  float epsilon = 0, dropout = 0;
  std::vector<Output> outputs;       // in the order of their states
  std::vector<bool> float_products;  // of PRODUCTS of each layer: those INT8 leaves alone; or empty
  int output_width = 0;
  // The output has so many rows a sequence, (batch, selected, output_width): the last state of the
  // tokens that the batch selects. After its keys and values the last layer computes no others.
  // 0: it has the states of all tokens, (batch, length, output_width).
  int selected = 0;
  int threads = 1;

  bool has_output_of(int state) const {
    return std::any_of(outputs.begin(), outputs.end(),
                       [=](const Output& output) { return output.state == state; });
  }
  bool is_selective(int layer) const { return selected && layer == sizes.num_layers - 1; }
};

// A parameter as MXNet hands it over: writing to it changes `version`.
struct Parameter {
  const float* values;
  size_t version;
};

// The order of the parameters: those before the layers, LAYER_PARAMETERS of each layer, and where
// embeddings are narrow, the weight and the bias of the dense layer that follows them.
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
inline int index_of(int layer, int parameter) {
  return LAYERS + LAYER_PARAMETERS * layer + parameter;
}

inline int embedding_projection(const Sizes& sizes) { return index_of(sizes.num_layers, 0); }

// The indices of the matrices that products multiply, in the order of computation.
std::vector<int> matrices_of(const Sizes& sizes);

// The index of the matrix that is multiplied after the one of an index; -1 after the last.
inline int next_matrix(const Sizes& sizes, int index) {
  if (index == embedding_projection(sizes)) return index_of(0, QUERY);
  const int parameter = (index - LAYERS) % LAYER_PARAMETERS;
  const int next = index + (parameter == PROJECTION || parameter == OUT ? 4 : 2);
  return next < embedding_projection(sizes) ? next : -1;
}

// The products of a layer, each of which INT8 may leave in floating point.
enum Product { QUERY_KEY_VALUE, PROJECT, EXPAND, CONTRACT, PRODUCTS };
// The number of the product with the matrix of an index: PRODUCTS a layer. Of the layer that
// follows narrow embeddings: one that no layer has.
inline size_t product_number(int index) {
  const int layer = (index - LAYERS) / LAYER_PARAMETERS;
  const int parameter = (index - LAYERS) % LAYER_PARAMETERS;
  const Product product = parameter == PROJECTION ? PROJECT
                          : parameter == HIDDEN   ? EXPAND
                          : parameter == OUT      ? CONTRACT
                                                  : QUERY_KEY_VALUE;
  return static_cast<size_t>(PRODUCTS) * layer + product;
}

// (rows, columns) of the parameter of an index; a vector has one row.
std::pair<int, int> shape_of(const Sizes& sizes, int index);
inline int number_of_parameters(const Sizes& sizes) {
  return embedding_projection(sizes) + (sizes.has_narrow_embeddings() ? 2 : 0);
}

// (batch, length) token and segment ids, (batch,) how many of a row are no padding, and (batch,
// `Settings::selected`) positions in a row, which may occur twice.
struct Batch {
  int size = 0, length = 0;
  std::vector<int> tokens, segments, lengths, selected;
};

// What error messages call the numbers of a batch.
constexpr char TOKEN[] = "a token id", SEGMENT[] = "a segment id", LENGTH[] = "valid_length",
               POSITION[] = "a position";

// Throws std::invalid_argument that names the row of an id, a length or a position out of range.
void check(const Batch& batch, const Sizes& sizes);

// What a forward pass saves for the backward pass.
class SavedActivations {
 public:
  virtual ~SavedActivations() = default;
};

// Keeps the weights of one model, packed for the products of one type, from call to call. It packs
// a weight again when it has changed.
class Encoder {
 public:
  virtual ~Encoder() = default;

  // output: (batch, length, output_width), zero at padding, or as `selected` says. save: return
  // what backward needs, and apply dropout, with `seed`; otherwise return null and drop nothing.
  virtual std::unique_ptr<SavedActivations> forward(const Settings& settings, const Batch& batch,
                                                    const std::vector<Parameter>& parameters,
                                                    bool save, uint64_t seed, float* output) = 0;

  // From the gradient of the output to those of all parameters.
  virtual void backward(const Settings& settings, const Batch& batch,
                        const std::vector<Parameter>& parameters, SavedActivations& saved,
                        const float* output_gradient, const std::vector<Gradient>& gradients) = 0;
};

// dtype: what products multiply, "float32", "bfloat16", or "int8", which has no gradients. Throws
// std::invalid_argument for others.
std::unique_ptr<Encoder> make_encoder(const std::string& dtype);

}  // namespace bert
