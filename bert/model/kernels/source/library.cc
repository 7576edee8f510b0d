// What MXNet and library.py ask of the library as a whole.
#include <lib_api.cc>  // of MXNet: what its header declares

#include "operator.h"

namespace bert {
int number_of_threads = 1;
}

mxnet::ext::MXReturnValue initialize(int) { return mxnet::ext::MX_SUCCESS; }

extern "C" {
const char* bert_kernels_built_from() { return BUILT_FROM; }
void bert_kernels_set_threads(int number) { bert::number_of_threads = number; }
}
