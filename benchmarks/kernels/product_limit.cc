// How fast this CPU multiplies matrices at most: the tiles of the kernels on operands that are
// packed already, nothing around them. Arguments: threads, times, types. Prints Gop/s of each.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "products.h"
#include "timed_product.h"

using namespace bert;

// Rows that a thread computes at a time, as the encoder does.
template <class T>
constexpr int GROUP_ROWS = PER_WORD<T> == 1 ? 128 : 256;

template <class T>
static double measure(int threads, int times) {
  std::vector<Word> left(ROWS * DEPTH / PER_WORD<T>, OPERAND);
  std::vector<Word> right(static_cast<size_t>(DEPTH) / PER_WORD<T> * COLUMNS, OPERAND);
  const Packed packed = {right.data(), DEPTH / PER_WORD<T>, COLUMNS};
  volatile float kept = 0;
  return measure(times, [&] {
    float total = 0;
#pragma omp parallel num_threads(threads) reduction(+ : total)
    {
      const Range mine = Team::of_region().share(ROWS, TILE_ROWS);
      Vector sum = spread(0);
      for (int row = mine.begin; row < mine.end; row += GROUP_ROWS<T>)
        multiply<T>({left.data() + static_cast<size_t>(row) * packed.depth,
                     static_cast<size_t>(packed.depth), 1},
                    std::min(GROUP_ROWS<T>, mine.end - row), packed,
                    [&](int, int, Vector x) { sum = max(sum, x); });
      total += sum_of(sum);
    }
    kept = total;
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
