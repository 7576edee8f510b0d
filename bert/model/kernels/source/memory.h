// Large pieces of memory, kept for the next one who asks: fresh pages cost more than a product.
#pragma once

#include <sys/mman.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

namespace bert {

inline size_t round_up(size_t x, size_t multiple) {
  return (x + multiple - 1) / multiple * multiple;
}

class Pool {
  using Piece = std::pair<void*, size_t>;  // data, bytes

 public:
  static Pool& shared() {
    static Pool* pool = new Pool;  // never destroyed: threads may outlive main()
    return *pool;
  }

  // The smallest free piece that holds `bytes`, or a new one. lasting: one that is not much larger,
  // for who keeps it.
  Piece take(size_t bytes, bool lasting) {
    bytes = round_up(bytes, HUGE_PAGE);
    std::lock_guard<std::mutex> lock(mutex_);
    const auto found = std::find_if(free_.begin(), free_.end(),
                                    [&](const Piece& piece) { return piece.second >= bytes; });
    if (found == free_.end() || (lasting && found->second > bytes + bytes / 4))
      return {map(bytes), bytes};
    const Piece piece = *found;
    free_.erase(found);
    return piece;
  }

  // Of those that are free the smallest goes back to the system: batches differ in size, and what
  // is large enough for one serves for all smaller ones. Where more than MOST_FREE are in use at
  // once, as many of the largest may stay.
  void give_back(Piece piece) {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto smaller = [](const Piece& one, const Piece& other) {
      return one.second < other.second;
    };
    free_.insert(std::upper_bound(free_.begin(), free_.end(), piece, smaller), piece);
    if (free_.size() > MOST_FREE) {
      munmap(free_.front().first, free_.front().second);
      free_.erase(free_.begin());
    }
  }

 private:
  // Memory of the system's own, whatever malloc is told to do with its; from the start of a huge
  // page on.
  static void* map(size_t bytes) {
    char* data = static_cast<char*>(mmap(nullptr, bytes + HUGE_PAGE, PROT_READ | PROT_WRITE,
                                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (data == MAP_FAILED) throw std::bad_alloc();
    const size_t before =
        round_up(reinterpret_cast<uintptr_t>(data), HUGE_PAGE) - reinterpret_cast<uintptr_t>(data);
    if (before) munmap(data, before);
    munmap(data + before + bytes, HUGE_PAGE - before);
    madvise(data + before, bytes, MADV_HUGEPAGE);
    return data + before;
  }

  static constexpr size_t HUGE_PAGE = 2 << 20;
  static constexpr size_t MOST_FREE = 4;  // what forward and backward take, and one more
  std::mutex mutex_;
  std::vector<Piece> free_;  // the smallest first
};

// One piece of the pool, given out in parts. First `plan` says how much, then `open` and `next`
// give it: both by the same function, which is called twice.
class Arena {
 public:
  Arena() = default;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  ~Arena() { close(); }

  // Call `layout(arena)` to count, then again to hand out, for one pass.
  template <class Layout>
  void arrange(Layout layout) {
    arrange(layout, false);
  }
  // For more than one.
  template <class Layout>
  void arrange_lasting(Layout layout) {
    arrange(layout, true);
  }

  // `count` elements, at a start that no cache line shares with the part before.
  template <class T>
  void give(T*& part, size_t count) {
    part = piece_.first ? reinterpret_cast<T*>(static_cast<char*>(piece_.first) + used_) : nullptr;
    if (part) allow(part, count * sizeof(T));
    used_ += round_up(count * sizeof(T) + GAP, LINE);
  }

  bool is_open() const { return piece_.first; }

  void close() {
    if (!piece_.first) return;
    allow(piece_.first, piece_.second);
    Pool::shared().give_back(piece_);
    piece_ = {nullptr, 0};
  }

 private:
  template <class Layout>
  void arrange(Layout layout, bool lasting) {
    close();
    used_ = 0;
    layout(*this);
    piece_ = Pool::shared().take(used_ + 1, lasting);
    forbid(piece_.first, piece_.second);
    used_ = 0;
    layout(*this);
  }

  static constexpr size_t LINE = 64;
#ifdef __SANITIZE_ADDRESS__  // parts are as apart as pieces of the heap
  static constexpr size_t GAP = LINE;
  static void forbid(void* data, size_t bytes) { __asan_poison_memory_region(data, bytes); }
  static void allow(void* data, size_t bytes) { __asan_unpoison_memory_region(data, bytes); }
#else
  static constexpr size_t GAP = 0;
  static void forbid(void*, size_t) {}
  static void allow(void*, size_t) {}
#endif
  std::pair<void*, size_t> piece_{nullptr, 0};
  size_t used_ = 0;
};

}  // namespace bert
