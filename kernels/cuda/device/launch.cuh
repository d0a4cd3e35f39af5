// Launching a kernel's body on the device.
#pragma once

#include <cuda_runtime.h>

#include "cuda/device/block.cuh"
#include "cuda/host/runtime.h"

namespace weft::cuda {

Status status_of(cudaError_t error, const char* tried);

// More than a block has without asking.
inline constexpr std::size_t kPlainSharedBytes = 48 * 1024;

template <typename Kernel>
Status launch_on(cudaStream_t stream, const Kernel& kernel, Grid grid) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return {};
  constexpr std::size_t kShared = sizeof(typename Kernel::Shared);
  const auto function = device::run_kernel<Kernel>;
  if constexpr (kShared > kPlainSharedBytes) {
    const cudaError_t error = cudaFuncSetAttribute(
        function, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(kShared));
    if (error != cudaSuccess) return status_of(error, "asking for shared memory");
  }
  function<<<dim3(grid.x, grid.y, grid.z), Kernel::kThreads, kShared, stream>>>(kernel);
  return status_of(cudaGetLastError(), "launching a kernel");
}

}  // namespace weft::cuda
