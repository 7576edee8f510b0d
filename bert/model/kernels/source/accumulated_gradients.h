// The gradients that accumulate (grad_req='add'): MXNet does not tell an operator of an extension
// which ones do.
#pragma once

#include <mutex>
#include <set>

#include "gradient.h"

namespace bert {

// Identifies a gradient by the address of its memory.
class AccumulatedGradients {
 public:
  void insert(const void* data) {
    Lock lock(mutex_);
    addresses_.insert(data);
  }
  void erase(const void* data) {
    Lock lock(mutex_);
    addresses_.erase(data);
  }
  Gradient gradient_at(float* values) {
    Lock lock(mutex_);
    return {values, addresses_.count(values) > 0};
  }

 private:
  using Lock = std::lock_guard<std::mutex>;
  std::mutex mutex_;
  std::set<const void*> addresses_;
};

// Those that Python registered (library.cc).
AccumulatedGradients& accumulated_gradients();

}  // namespace bert
