// Forward and backward passes of random sizes, without MXNet, for the sanitizers: every array is
// exactly as large as necessary. Arguments: the first seed, the number of seeds, the types.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>

#include "dense.h"
#include "encoder.h"
#include "team.h"

using namespace bert;

static void expect(bool condition, const char* problem) {
  if (condition) return;
  std::fprintf(stderr, "%s\n", problem);
  std::exit(1);
}

static void run(const char* dtype, unsigned seed) {
  std::mt19937 random(seed);
  auto draw = [&](int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(random);
  };
  Settings settings;
  Sizes& sizes = settings.sizes;
  sizes.num_layers = draw(1, 2);
  sizes.num_heads = draw(1, 4);
  sizes.units = sizes.num_heads * (draw(0, 1) ? 32 : 64);
  sizes.embedding_size = 32 * draw(1, sizes.units / 32);
  sizes.hidden_size = 32 * draw(1, seed % 8 ? 12 : 40);
  sizes.vocab_size = 20;
  sizes.token_types = 2;
  sizes.max_length = 140;
  settings.activation = static_cast<Activation>(draw(0, 2));
  settings.epsilon = 1e-5f;
  settings.dropout = draw(0, 1) ? 0.1f : 0.f;
  settings.threads = draw(1, 3);
  for (int i = 0; i < PRODUCTS * sizes.num_layers; ++i)
    settings.float_products.push_back(!draw(0, 3));
  const bool has_two_outputs = draw(0, 1);
  settings.outputs = {{sizes.num_layers, 0, 1.f, false}};
  if (has_two_outputs)
    settings.outputs.insert(settings.outputs.begin(), {0, sizes.units, 0.5f, false});
  settings.output_width = sizes.units * (has_two_outputs ? 2 : 1);
  if (!has_two_outputs) settings.selected = draw(0, 3) * draw(1, 20);

  Batch batch;
  batch.size = draw(1, 6);
  batch.length = draw(1, seed % 8 ? 40 : 140);
  for (int row = 0; row < batch.size; ++row) {
    batch.lengths.push_back(draw(1, batch.length));
    for (int i = 0; i < settings.selected; ++i)
      batch.selected.push_back(draw(0, batch.lengths[row] - 1));
  }
  for (int i = 0; i < batch.size * batch.length; ++i) {
    batch.tokens.push_back(draw(0, 19));
    batch.segments.push_back(draw(0, 1));
  }
  check(batch, sizes);

  std::normal_distribution<float> normal(0, 0.1f);
  auto array = [&](size_t size) {
    std::unique_ptr<float[]> values(new float[size]);
    for (size_t i = 0; i < size; ++i) values[i] = normal(random);
    return values;
  };
  std::vector<std::unique_ptr<float[]>> parameter_values, gradient_values;
  std::vector<Parameter> parameters;
  std::vector<Gradient> gradients;
  for (int index = 0; index < number_of_parameters(sizes); ++index) {
    const auto shape = shape_of(sizes, index);
    const size_t size = static_cast<size_t>(shape.first) * shape.second;
    parameter_values.push_back(array(size));
    gradient_values.push_back(array(size));
    parameters.push_back({parameter_values.back().get(), 1});
    gradients.push_back({gradient_values.back().get(), false});
  }
  const size_t rows = settings.selected ? settings.selected : batch.length;
  const size_t size = batch.size * rows * settings.output_width;
  auto output = array(size), output_gradient = array(size);

  auto encoder = make_encoder(dtype);
  encoder->forward(settings, batch, parameters, false, seed, output.get());
  if (std::string(dtype) == "int8") return;
  auto saved = encoder->forward(settings, batch, parameters, true, seed, output.get());
  const bool accumulate = draw(0, 1);
  for (Gradient& gradient : gradients) gradient.accumulate = accumulate;
  encoder->backward(settings, batch, parameters, *saved, output_gradient.get(), gradients);
}

static void run_dense(const char* dtype, unsigned seed) {
  std::mt19937 random(seed);
  auto draw = [&](int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(random);
  };
  auto array = [&](size_t size) {
    std::unique_ptr<float[]> values(new float[size]);
    std::fill_n(values.get(), size, 0.5f);
    return values;
  };
  const int rows = draw(1, 40), in = 32 * draw(1, 30), out = draw(1, seed % 8 ? 200 : 1200);
  const size_t inputs = static_cast<size_t>(rows) * in, outputs = static_cast<size_t>(rows) * out;
  auto input = array(inputs), weight = array(static_cast<size_t>(out) * in), bias = array(out);
  auto output = array(outputs), output_gradient = array(outputs), input_gradient = array(inputs);
  auto weight_gradient = array(static_cast<size_t>(out) * in), bias_gradient = array(out);
  const Dense dense = {input.get(), weight.get(), bias.get(), rows, in, out, draw(1, 3)};
  forward_dense(dtype, dense, output.get());
  const bool accumulate = draw(0, 1);
  backward_dense(dtype, dense, output_gradient.get(),
                 {{input_gradient.get(), false},
                  {weight_gradient.get(), accumulate},
                  {bias_gradient.get(), accumulate}});
}

// A thread leaves the CPU of another thread, and keeps its affinity.
static void test_cpus() {
  cpu_set_t allowed, first, found;
  sched_getaffinity(0, sizeof allowed, &allowed);
  CPU_ZERO(&first);
  int cpu = 0;
  while (!CPU_ISSET(cpu, &allowed)) ++cpu;
  CPU_SET(cpu, &first);
  sched_setaffinity(0, sizeof first, &first);
  Cpus cpus(2);
  cpus.note(0);          // the other thread
  cpus.leave_shared(1);  // there is no other CPU
  expect(sched_getcpu() == cpu, "the only CPU is left");
  sched_setaffinity(0, sizeof allowed, &allowed);
  cpus.leave_shared(1);
  expect(CPU_COUNT(&allowed) == 1 || sched_getcpu() != cpu, "a shared CPU is not left");
  sched_getaffinity(0, sizeof found, &found);
  expect(CPU_EQUAL(&found, &allowed), "the affinity has changed");
}

int main(int count, char** arguments) {
  test_cpus();
  const unsigned first_seed = std::atoi(arguments[1]), num_seeds = std::atoi(arguments[2]);
  for (unsigned seed = first_seed; seed < first_seed + num_seeds; ++seed)
    for (int i = 3; i < count; ++i) {
      run(arguments[i], seed);
      if (std::string(arguments[i]) != "int8") run_dense(arguments[i], seed);
    }
  std::puts("done");
}
