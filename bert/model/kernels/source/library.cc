// What MXNet and library.py ask of the library as a whole.
#include <lib_api.cc>  // of MXNet: defines what its header declares

#include "accumulated_gradients.h"
#include "operator.h"

namespace bert {
int number_of_threads = 1;

AccumulatedGradients& accumulated_gradients() {
  static AccumulatedGradients gradients;
  return gradients;
}
}  // namespace bert

mxnet::ext::MXReturnValue initialize(int) { return mxnet::ext::MX_SUCCESS; }

extern "C" {
const char* bert_kernels_built_from() { return BUILT_FROM; }
void bert_kernels_set_threads(int number) { bert::number_of_threads = number; }
void bert_kernels_add_to_gradient(const void* data, int add) {
  if (add)
    bert::accumulated_gradients().insert(data);
  else
    bert::accumulated_gradients().erase(data);
}
}
