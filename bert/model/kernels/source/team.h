// Threads that share work.
#pragma once

#include <omp.h>

#include <algorithm>

namespace bert {

struct Range {
  int begin, end;
  int size() const { return end - begin; }
};

// The threads that compute one thing together, as one of them sees it: a single thread, or all of a
// parallel region.
struct Team {
  int rank, size;

  static Team of_region() { return {omp_get_thread_num(), omp_get_num_threads()}; }
  static Team single_thread() { return {0, 1}; }

  // This thread's share of `count` things. All shares but the last are multiples of `step`.
  Range share(int count, int step = 1) const {
    const long steps = (count + step - 1) / step;
    return {static_cast<int>(std::min<long>(count, steps * rank / size * step)),
            static_cast<int>(std::min<long>(count, steps * (rank + 1) / size * step))};
  }

  void barrier() const {
    if (size > 1) {
#pragma omp barrier
    }
  }
};

}  // namespace bert
