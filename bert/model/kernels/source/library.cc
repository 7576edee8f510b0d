// What MXNet and library.py ask of the library as a whole.
#include <lib_api.cc>  // of MXNet: what its header declares

#include "accumulated_gradients.h"
#include "operator.h"

namespace bert {
int number_of_threads = 1;

AddedGradients& added_gradients() {
  static AddedGradients found;
  return found;
}
}  // namespace bert

mxnet::ext::MXReturnValue initialize(int) { return mxnet::ext::MX_SUCCESS; }

extern "C" {
const char* bert_kernels_built_from() { return BUILT_FROM; }
void bert_kernels_set_threads(int number) { bert::number_of_threads = number; }
void bert_kernels_add_to_gradient(const void* data, int add) {
  if (add)
    bert::added_gradients().insert(data);
  else
    bert::added_gradients().erase(data);
}
}
