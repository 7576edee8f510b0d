// How the threads share out a batch.
#pragma once

#include <atomic>
#include <thread>
#include <vector>

#include "pass_context.h"

namespace bert {

// The blocks of a batch: neighbouring sequences of about as many tokens, and the tasks to take each
// block through some stages, one after the other.
class Blocks {
 public:
  // block_tokens: about how many tokens a block has.
  Blocks(const Tokens& tokens, int threads, int block_tokens) : tokens_(tokens), threads_(threads) {
    auto number_of_blocks = [&](int count) {
      return std::max(1, (count + block_tokens / 2) / block_tokens);
    };
    cut(threads * number_of_blocks(tokens.count() / threads));  // as many for each thread
    is_shared_ = threads > 1 && largest_ > MAX_IMBALANCE * tokens.count() / threads;
    if (is_shared_) cut(number_of_blocks(tokens.count()));
    finished_stages_ = std::vector<std::atomic<int>>(blocks_.size());
  }

  // Of neighbouring sequences.
  const std::vector<Range>& all() const { return blocks_; }
  // The tokens of the largest block.
  int largest() const { return largest_; }
  // Whether one of them is so large that all threads should share each product.
  bool is_shared() const { return is_shared_; }

  // Takes tasks until none is left: `compute(stage, block)`. Called by each thread. Tasks are in
  // the order of the stages, and a thread takes the next one when it has finished its last: where
  // other work of the process or of the machine holds up a thread, it takes fewer.
  template <class Compute>
  void run(int stages, Compute compute) {
    const int count = static_cast<int>(blocks_.size());
    for (int task; (task = next_task_.fetch_add(1)) < count * stages;) {
      const int stage = task / count, block = task % count;
      wait_for(block, stage);
      compute(stage, blocks_[block]);
      finished_stages_[block].store(stage + 1, std::memory_order_release);
    }
  }

  // Afterwards: `compute(sequences)` of a part of the blocks, as many parts as there are threads,
  // when they have gone through all stages.
  template <class Compute>
  void run_parts(int stages, Compute compute) {
    for (int part; (part = next_part_.fetch_add(1)) < threads_;) {
      const Range share = Team{part, threads_, nullptr}.share(static_cast<int>(blocks_.size()));
      if (share.size() == 0) continue;
      for (int block = share.begin; block < share.end; ++block) wait_for(block, stages);
      compute(Range{blocks_[share.begin].begin, blocks_[share.end - 1].end});
    }
  }

 private:
  // How much more than a thread's share of the tokens a block may have: it takes its stages one
  // after the other, while the other threads have nothing left.
  static constexpr double MAX_IMBALANCE = 1.3;
  static constexpr int LOOKS = 2000;  // about 50 microseconds on an AMD EPYC

  // So many blocks, or one for each sequence where these are fewer.
  void cut(int number) {
    blocks_.clear();
    largest_ = 0;
    int first = 0;
    for (int i = 0; i < number && first < tokens_.sequences(); ++i) {
      const long end_token = static_cast<long>(tokens_.count()) * (i + 1) / number;
      const int end = i == number - 1 ? tokens_.sequences() : end_sequence(first + 1, end_token);
      blocks_.push_back({first, end});
      largest_ = std::max(largest_, tokens_.of({first, end}).size());
      first = end;
    }
  }

  // The end of the sequences from `first` on whose middle is before a token.
  int end_sequence(int first, long end_token) const {
    int end = first;
    while (end < tokens_.sequences() && tokens_.starts[end] + tokens_.length(end) / 2 < end_token)
      ++end;
    return end;
  }

  // Waits until a block has gone through so many stages. Another thread has taken the last of them,
  // so this takes less than a task.
  void wait_for(int block, int stages) const {
    for (int looks = 0; finished_stages_[block].load(std::memory_order_acquire) < stages; ++looks)
      if (looks < LOOKS)
        _mm_pause();
      else
        std::this_thread::yield();  // another program may have the core of that thread
  }

  const Tokens& tokens_;
  const int threads_;
  std::vector<Range> blocks_;
  int largest_ = 0;
  bool is_shared_ = false;
  std::atomic<int> next_task_{0}, next_part_{0};
  std::vector<std::atomic<int>> finished_stages_;  // of each block
};

}  // namespace bert
