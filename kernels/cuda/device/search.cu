// The kernels of the search, compiled for the device.
#include "cuda/device/launch.cuh"
#include "cuda/host/kernels.h"

namespace weft::cuda {

#define WEFT_DEFINE(...)                                                                  \
  template <>                                                                             \
  Status Stream::launch(const device::__VA_ARGS__& kernel, Grid grid) {                   \
    return launch_on(static_cast<cudaStream_t>(handle_), kernel, grid);                   \
  }
WEFT_SEARCH_KERNELS(WEFT_DEFINE)
#undef WEFT_DEFINE

Status load_search_kernels() {
  cudaFuncAttributes attributes{};
  cudaError_t error = cudaSuccess;
#define WEFT_LOAD(...)                                                                    \
  if (error == cudaSuccess) {                                                             \
    error = cudaFuncGetAttributes(&attributes, device::run_kernel<device::__VA_ARGS__>);  \
  }
  WEFT_SEARCH_KERNELS(WEFT_LOAD)
#undef WEFT_LOAD
  return status_of(error, "loading kernels");
}

}  // namespace weft::cuda
