// Threads that share work.
#pragma once

#include <immintrin.h>
#include <linux/futex.h>
#include <omp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <climits>

namespace bert {

struct Range {
  int begin, end;
  int size() const { return end - begin; }
};

// Where the threads of a parallel region wait for one another: each looks at a counter for a while,
// then sleeps. libgomp's barrier looks a hundred times only, once a process has more OpenMP threads
// than cores. With MXNet it has: each of MXNet's threads that computes has OpenMP threads of its
// own. To wake a thread takes longer than a product for a single text.
class Barrier {
 public:
  void wait(int threads) {
    const unsigned round = round_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) == threads - 1) {
      arrived_.store(0, std::memory_order_relaxed);
      round_.store(round + 1);
      if (sleepers_.load()) futex(FUTEX_WAKE_PRIVATE, INT_MAX);
      return;
    }
    for (int looks = 0; looks < LOOKS; ++looks) {
      if (round_.load(std::memory_order_acquire) != round) return;
      _mm_pause();
    }
    // Another program may have the core of the thread that is waited for.
    sleepers_.fetch_add(1);
    while (round_.load() == round) futex(FUTEX_WAIT_PRIVATE, round);
    sleepers_.fetch_sub(1);
  }

 private:
  static constexpr int LOOKS = 2000;  // about 50 microseconds on an AMD EPYC

  void futex(int operation, unsigned value) {
    static_assert(sizeof(round_) == sizeof(unsigned));
    syscall(SYS_futex, &round_, operation, value, nullptr, nullptr, 0);
  }

  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<unsigned> round_{0};
  std::atomic<int> sleepers_{0};
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
