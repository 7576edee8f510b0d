// How fast this CPU reads memory: the sum of an array that is larger than the caches. Arguments:
// threads, times, megabytes. Prints GB/s, the median.
#include <omp.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

// Sums that are computed side by side, so that no addition waits for the one before.
constexpr int SUMS = 64;

static float sum_of(const float* numbers, size_t count) {
  float sums[SUMS] = {};
  for (size_t i = 0; i + SUMS <= count; i += SUMS)
    for (int j = 0; j < SUMS; ++j) sums[j] += numbers[i + j];
  float sum = 0;
  for (const float value : sums) sum += value;
  return sum;
}

int main(int, char** arguments) {
  const int threads = std::atoi(arguments[1]), times = std::atoi(arguments[2]);
  const size_t bytes = std::atol(arguments[3]) * 1000000ul;
  const std::vector<float> numbers(bytes / sizeof(float), 1.f);
  const size_t share = numbers.size() / threads;
  std::vector<double> seconds;
  volatile float sink = 0;
  for (int i = 0; i < times; ++i) {
    const double start = omp_get_wtime();
    float sum = 0;
#pragma omp parallel num_threads(threads) reduction(+ : sum)
    sum += sum_of(numbers.data() + omp_get_thread_num() * share, share);
    sink = sum;
    seconds.push_back(omp_get_wtime() - start);
  }
  std::sort(seconds.begin(), seconds.end());
  std::printf("%.1f\n", bytes / seconds[times / 2] / 1e9);
  return sink < 0;
}
