// Large blocks of memory, kept for the next caller: fresh pages cost more than a product.
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
#include <vector>

#include "matrix.h"

namespace bert {

inline size_t round_up(size_t x, size_t multiple) {
  return (x + multiple - 1) / multiple * multiple;
}

struct MemoryBlock {
  char* data = nullptr;
  size_t bytes = 0;
};

class Pool {
 public:
  static Pool& shared() {
    static Pool* pool = new Pool;  // never destroyed: threads may outlive main()
    return *pool;
  }

  // The smallest free block that holds `bytes`, or a new one. lasting: for a caller that keeps the
  // block, so that it must not be much larger.
  MemoryBlock acquire(size_t bytes, bool lasting) {
    bytes = round_up(bytes, HUGE_PAGE);
    std::lock_guard<std::mutex> lock(mutex_);
    const auto smallest = std::find_if(
        free_.begin(), free_.end(), [&](const MemoryBlock& block) { return block.bytes >= bytes; });
    if (smallest == free_.end() || (lasting && smallest->bytes > bytes + bytes / 4))
      return {map(bytes), bytes};
    const MemoryBlock block = *smallest;
    free_.erase(smallest);
    return block;
  }

  // Unmaps the smallest free block when there are too many: batches differ in size, and a block
  // that is large enough for one serves for all smaller ones. Where more than MAX_FREE are in use
  // at once, as many of the largest may stay.
  void release(MemoryBlock block) {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto is_smaller = [](const MemoryBlock& a, const MemoryBlock& b) {
      return a.bytes < b.bytes;
    };
    free_.insert(std::upper_bound(free_.begin(), free_.end(), block, is_smaller), block);
    if (free_.size() > MAX_FREE) {
      munmap(free_.front().data, free_.front().bytes);
      free_.erase(free_.begin());
    }
  }

 private:
  // Comes from the system directly, whatever malloc is told to do with its memory, and starts at a
  // huge page.
  static char* map(size_t bytes) {
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
  static constexpr size_t MAX_FREE = 4;  // what forward and backward take, and one more
  std::mutex mutex_;
  std::vector<MemoryBlock> free_;  // the smallest first
};

// One block of the pool, cut into arrays. `arrange` calls one function twice, first to count the
// bytes, then to hand out the arrays, so that both always agree.
class Arena {
 public:
  Arena() = default;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  ~Arena() { close(); }

  // Calls `layout(arena)`, which calls `allocate`, twice. For memory that one pass uses.
  template <class Layout>
  void arrange(Layout layout) {
    arrange(layout, false);
  }
  // The same for memory that outlives a pass.
  template <class Layout>
  void arrange_lasting(Layout layout) {
    arrange(layout, true);
  }

  // Points to `count` elements, which share no cache line with the array before.
  template <class T>
  void allocate(T*& array, size_t count) {
    array = block_.data ? reinterpret_cast<T*>(block_.data + used_) : nullptr;
    if (array) unpoison(array, count * sizeof(T));
    used_ += round_up(count * sizeof(T) + REDZONE, CACHE_LINE);
  }
  template <class T>
  void allocate(MatrixView<T>& matrix, size_t rows, size_t columns) {
    allocate(matrix.data, rows * columns);
    matrix.stride = columns;
  }

  bool is_open() const { return block_.data; }

  void close() {
    if (!block_.data) return;
    unpoison(block_.data, block_.bytes);
    Pool::shared().release(block_);
    block_ = {};
  }

 private:
  template <class Layout>
  void arrange(Layout layout, bool lasting) {
    close();
    used_ = 0;
    layout(*this);
    block_ = Pool::shared().acquire(used_ + 1, lasting);
    poison(block_.data, block_.bytes);
    used_ = 0;
    layout(*this);
  }

  static constexpr size_t CACHE_LINE = 64;
#ifdef __SANITIZE_ADDRESS__  // a gap between two arrays, as between two blocks of the heap
  static constexpr size_t REDZONE = CACHE_LINE;
  static void poison(void* data, size_t bytes) { __asan_poison_memory_region(data, bytes); }
  static void unpoison(void* data, size_t bytes) { __asan_unpoison_memory_region(data, bytes); }
#else
  static constexpr size_t REDZONE = 0;
  static void poison(void*, size_t) {}
  static void unpoison(void*, size_t) {}
#endif
  MemoryBlock block_;
  size_t used_ = 0;
};

}  // namespace bert
