// How fast this CPU multiplies matrices at most: the tiles of the kernels on operands that are
// packed already, nothing around them. Arguments: threads, times, types. Prints Gop/s of each.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "products.h"

using namespace bert;

// The feed-forward product of BERT base in a batch of 32 x 128.
constexpr int ROWS = 4096, DEPTH = 768, COLUMNS = 3072;
// Rows that a thread computes at a time, as the encoder does.
template <class T>
constexpr int GROUP_ROWS = PER_WORD<T> == 1 ? 128 : 256;

template <class T>
static double measure(int threads) {
  static std::vector<Word> left(ROWS * DEPTH / PER_WORD<T>, 0x3f803f80), right = left;
  right.resize(static_cast<size_t>(DEPTH) / PER_WORD<T> * COLUMNS, 0x3f803f80);
  const Packed packed = {right.data(), DEPTH / PER_WORD<T>, COLUMNS};
  float total = 0;
  const auto started = std::chrono::steady_clock::now();
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
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - started;
  volatile float kept = total;
  (void)kept;
  return 2e-9 * ROWS * DEPTH * COLUMNS / seconds.count();
}

static double measure(const std::string& type, int threads) {
  if (type == "float32") return measure<float>(threads);
#ifdef __AVX512BF16__
  if (type == "bfloat16") return measure<Bfloat16>(threads);
#endif
  if (type == "int8") return measure<Int8>(threads);
  return 0;
}

int main(int count, char** arguments) {
  const int threads = std::atoi(arguments[1]), times = std::atoi(arguments[2]);
  for (int i = 3; i < count; ++i) {
    std::vector<double> found;
    measure(arguments[i], threads);
    for (int time = 0; time < times; ++time) found.push_back(measure(arguments[i], threads));
    std::sort(found.begin(), found.end());
    std::printf("%.1f\n", found[found.size() / 2]);
  }
}
