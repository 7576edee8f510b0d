// Gradients that are added to: MXNet doesn't tell an operator of an extension that it should add.
#pragma once

#include <mutex>
#include <set>

namespace bert {

// By the address of their memory.
class AddedGradients {
 public:
  void insert(const void* data) {
    Lock lock(mutex_);
    found_.insert(data);
  }
  void erase(const void* data) {
    Lock lock(mutex_);
    found_.erase(data);
  }
  bool has(const void* data) {
    Lock lock(mutex_);
    return found_.count(data);
  }

 private:
  using Lock = std::lock_guard<std::mutex>;
  std::mutex mutex_;
  std::set<const void*> found_;
};

// What Python told (library.cc).
AddedGradients& added_gradients();

}  // namespace bert
