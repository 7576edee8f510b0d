// Threads that share work.
#pragma once

#include <immintrin.h>
#include <linux/futex.h>
#include <omp.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <climits>
#include <vector>

namespace bert {

struct Range {
  int begin, end;
  int size() const { return end - begin; }
};

// Where the threads of a parallel region wait for one another: each looks at a counter for a while,
// then sleeps. libgomp's barrier looks a hundred times only, once a process has more OpenMP threads
// than cores. With MXNet it has: each of MXNet's threads that computes has OpenMP threads of its
// own. To wake a thread takes longer than a product for a single text. While it looks, a thread
// gives its CPU to others that wait for it.
class Barrier {
 public:
  // Returns whether the thread has slept.
  bool wait(int threads) {
    const unsigned round = round_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) == threads - 1) {
      arrived_.store(0, std::memory_order_relaxed);
      round_.store(round + 1);
      if (sleepers_.load()) futex(FUTEX_WAKE_PRIVATE, INT_MAX);
      return false;
    }
    for (int looks = 0; looks < LOOKS + YIELDS; ++looks) {
      if (round_.load(std::memory_order_acquire) != round) return false;
      if (looks < LOOKS)
        _mm_pause();
      else
        sched_yield();
    }
    // Another program may have the core of the thread that is waited for.
    sleepers_.fetch_add(1);
    while (round_.load() == round) futex(FUTEX_WAIT_PRIVATE, round);
    sleepers_.fetch_sub(1);
    return true;
  }

 private:
  // About 10 and 200 microseconds on an AMD EPYC: in that time a thread comes to another CPU.
  static constexpr int LOOKS = 400, YIELDS = 400;

  void futex(int operation, unsigned value) {
    static_assert(sizeof(round_) == sizeof(unsigned));
    syscall(SYS_futex, &round_, operation, value, nullptr, nullptr, 0);
  }

  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<unsigned> round_{0};
  std::atomic<int> sleepers_{0};
};

// The CPUs that the threads of a parallel region run on. Linux may wake a thread on the CPU of the
// thread that wakes it, although another CPU sleeps. There the two take turns, because each waits
// for the other, until the scheduler moves one of them: on a virtual machine a text after a pause
// of 3 milliseconds took five times as long (benchmarks/inference/single_text.py).
class Cpus {
 public:
  explicit Cpus(int threads) : cpus_(threads) {
    for (auto& cpu : cpus_) cpu.store(-1);
  }

  // Notes where a thread runs.
  void note(int rank) { cpus_[rank].store(sched_getcpu(), std::memory_order_relaxed); }

  // Moves a thread to a CPU that no other thread of the region has, where there is one. Its
  // affinity stays as it was.
  void leave_shared(int rank) {
    note(rank);
    cpu_set_t allowed;
    if (!is_shared(rank) || sched_getaffinity(0, sizeof allowed, &allowed)) return;
    cpu_set_t free = allowed;
    for (const auto& cpu : cpus_)
      if (cpu.load() >= 0 && cpu.load() < CPU_SETSIZE) CPU_CLR(cpu.load(), &free);
    if (!CPU_COUNT(&free) || sched_setaffinity(0, sizeof free, &free)) return;
    note(rank);
    sched_setaffinity(0, sizeof allowed, &allowed);
  }

 private:
  bool is_shared(int rank) const {
    const int own = cpus_[rank].load();
    return std::count_if(cpus_.begin(), cpus_.end(),
                         [=](const auto& cpu) { return cpu.load() == own; }) > 1;
  }

  std::vector<std::atomic<int>> cpus_;  // by rank; -1: not known yet
};

// What the threads of a parallel region share; made before it.
struct Region {
  explicit Region(int threads) : cpus(threads) {}
  Barrier barrier;
  Cpus cpus;
};

// The threads that compute one thing together, as one of them sees it: a single thread, or all of a
// parallel region.
struct Team {
  int rank, size;
  Region* region;

  static Team of_region(Region& region) {
    const Team team = {omp_get_thread_num(), omp_get_num_threads(), &region};
    if (team.size == 1) return team;
    region.cpus.leave_shared(team.rank);
    if (team.rank == 0) sched_yield();  // for threads that it has woken on its CPU
    return team;
  }
  static Team single_thread() { return {0, 1, nullptr}; }

  // This thread's share of `count` things. All shares but the last are multiples of `step`.
  Range share(int count, int step = 1) const {
    const long steps = (count + step - 1) / step;
    return {static_cast<int>(std::min<long>(count, steps * rank / size * step)),
            static_cast<int>(std::min<long>(count, steps * (rank + 1) / size * step))};
  }

  void barrier() const {
    if (size == 1) return;
    region->cpus.note(rank);
    if (region->barrier.wait(size)) region->cpus.leave_shared(rank);
  }
};

}  // namespace bert
