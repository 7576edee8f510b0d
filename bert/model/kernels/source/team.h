// Threads that share work.
#pragma once

#include <immintrin.h>
#include <omp.h>
#include <sched.h>

#include <algorithm>
#include <atomic>

namespace bert {

struct Range {
  int begin, end;
  int size() const { return end - begin; }
};

// Where the threads of a parallel region wait for one another: each looks at a counter until all
// have come. libgomp's barrier puts them to sleep after a hundred looks once a process has more
// OpenMP threads than cores. With MXNet it has, because each of MXNet's threads that computes has
// OpenMP threads of its own. To wake a thread takes longer than a product for a single text.
class Barrier {
 public:
  void wait(int threads) {
    const unsigned round = round_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) == threads - 1) {
      arrived_.store(0, std::memory_order_relaxed);
      round_.store(round + 1, std::memory_order_release);
      return;
    }
    for (int looks = 0; round_.load(std::memory_order_acquire) == round; ++looks)
      if (looks < LOOKS)
        _mm_pause();
      else
        sched_yield();  // another program may have the core of the thread that is waited for
  }

 private:
  static constexpr int LOOKS = 2000;  // about 50 microseconds on an AMD EPYC
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<unsigned> round_{0};
};

// The threads that compute one thing together, as one of them sees it: a single thread, or all of a
// parallel region.
struct Team {
  int rank, size;
  Barrier* shared_barrier;

  // shared_barrier: one for the region, made before it.
  static Team of_region(Barrier& shared_barrier) {
    return {omp_get_thread_num(), omp_get_num_threads(), &shared_barrier};
  }
  static Team single_thread() { return {0, 1, nullptr}; }

  // This thread's share of `count` things. All shares but the last are multiples of `step`.
  Range share(int count, int step = 1) const {
    const long steps = (count + step - 1) / step;
    return {static_cast<int>(std::min<long>(count, steps * rank / size * step)),
            static_cast<int>(std::min<long>(count, steps * (rank + 1) / size * step))};
  }

  void barrier() const {
    if (size > 1) shared_barrier->wait(size);
  }
};

}  // namespace bert
