// The upper limit of matrix products on this CPU: the micro-kernels alone, on operands that are
// packed already. Arguments: threads, times, types. Prints Gop/s of each type.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "products.h"
#include "timed_product.h"

using namespace bert;

// The number of rows that a thread computes at a time, as in the encoder.
template <class T>
constexpr int BLOCK_ROWS = PER_WORD<T> == 2 ? 256 : 128;

template <class T>
static double measure(int threads, int times) {
  std::vector<Word> left(ROWS * DEPTH / PER_WORD<T>, OPERAND);
  std::vector<Word> right(static_cast<size_t>(DEPTH) / PER_WORD<T> * COLUMNS, OPERAND);
  const PackedB packed = {right.data(), DEPTH / PER_WORD<T>, COLUMNS};
  volatile float sink = 0;
  return measure(times, [&] {
    float total = 0;
    Region region(threads);
#pragma omp parallel num_threads(threads) reduction(+ : total)
    {
      const Range rows = Team::of_region(region).share(ROWS, MR);
      Vector sum = spread(0);
      for (int row = rows.begin; row < rows.end; row += BLOCK_ROWS<T>)
        multiply<T>({left.data() + static_cast<size_t>(row) * packed.depth,
                     static_cast<size_t>(packed.depth), 1},
                    std::min(BLOCK_ROWS<T>, rows.end - row), packed,
                    [&](int) { return [&](int, Vector x) { sum = max(sum, x); }; });
      total += sum_of(sum);
    }
    sink = total;
  });
}

static double measure(const std::string& type, int threads, int times) {
  if (type == "float32") return measure<float>(threads, times);
#ifdef __AVX512BF16__
  if (type == "bfloat16") return measure<Bfloat16>(threads, times);
#endif
  if (type == "int8") return measure<Int8>(threads, times);
  return 0;
}

int main(int count, char** arguments) {
  for (int i = 3; i < count; ++i)
    std::printf("%.1f\n", measure(arguments[i], std::atoi(arguments[1]), std::atoi(arguments[2])));
}
