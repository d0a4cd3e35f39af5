// The kernels of the build, compiled for the device.
#include "cuda/device/launch.cuh"
#include "cuda/host/kernels.h"

namespace weft::cuda {

#define WEFT_DEFINE(...)                                                                  \
  template <>                                                                             \
  Status Stream::launch(const device::__VA_ARGS__& kernel, Grid grid) {                   \
    return launch_on(static_cast<cudaStream_t>(handle_), kernel, grid);                   \
  }
WEFT_BUILD_KERNELS(WEFT_DEFINE)
#undef WEFT_DEFINE

}  // namespace weft::cuda
