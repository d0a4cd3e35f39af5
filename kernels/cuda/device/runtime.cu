// The runtime of CUDA: memory, streams, graphs. Launches stand beside the kernels.
#include "cuda/host/runtime.h"

#include <cuda_runtime.h>

#include "cuda/device/launch.cuh"

namespace weft::cuda {

// What the driver says, with what was tried. Errors that are remembered are forgotten.
Status status_of(cudaError_t error, const char* tried) {
  if (error == cudaSuccess) return {};
  (void)cudaGetLastError();
  const std::string message =
      std::string(tried) + ": " + cudaGetErrorName(error) + " (" + cudaGetErrorString(error) + ")";
  return error == cudaErrorMemoryAllocation ? Status::device_memory(message)
                                            : Status::device_failed(message);
}

Status count_devices(int* count) {
  return status_of(cudaGetDeviceCount(count), "counting devices");
}

Status read_facts(int device, DeviceFacts* facts) {
  if (Status status = use_device(device); !status.ok()) return status;
  cudaDeviceProp properties{};
  const cudaError_t error = cudaGetDeviceProperties(&properties, device);
  if (error != cudaSuccess) return status_of(error, "reading a device's properties");
  std::size_t free_bytes = 0;
  std::size_t total_bytes = 0;
  const cudaError_t asked = cudaMemGetInfo(&free_bytes, &total_bytes);
  if (asked != cudaSuccess) return status_of(asked, "asking for free memory");
  *facts = {properties.name,
            properties.major,
            properties.minor,
            properties.multiProcessorCount,
            static_cast<std::int64_t>(total_bytes),
            static_cast<std::int64_t>(free_bytes)};
  return {};
}

Status use_device(int device) { return status_of(cudaSetDevice(device), "choosing a device"); }

Status Memory::on_device(std::int64_t bytes, Memory* memory) {
  Memory made;
  const auto size = static_cast<std::size_t>(bytes > 0 ? bytes : 1);
  const cudaError_t error = cudaMalloc(&made.data_, size);
  if (error != cudaSuccess) {
    return status_of(error, ("allocating " + std::to_string(bytes) + " bytes").c_str());
  }
  made.bytes_ = bytes;
  *memory = std::move(made);
  return {};
}

Status Memory::pinned(std::int64_t bytes, Memory* memory) {
  Memory made;
  const auto size = static_cast<std::size_t>(bytes > 0 ? bytes : 1);
  const cudaError_t error =
      cudaHostAlloc(&made.data_, size, cudaHostAllocPortable | cudaHostAllocMapped);
  if (error != cudaSuccess) {
    return status_of(error, ("pinning " + std::to_string(bytes) + " bytes").c_str());
  }
  made.bytes_ = bytes;
  made.pinned_ = true;
  *memory = std::move(made);
  return {};
}

// A failure has been reported by whatever caused it; nothing can be done about it here.
Memory::~Memory() {
  if (data_ == nullptr) return;
  (void)(pinned_ ? cudaFreeHost(data_) : cudaFree(data_));
  (void)cudaGetLastError();
}

Graph::~Graph() {
  if (handle_ == nullptr) return;
  (void)cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(handle_));
  (void)cudaGetLastError();
}

Stream::~Stream() {
  if (handle_ == nullptr) return;
  (void)cudaStreamDestroy(static_cast<cudaStream_t>(handle_));
  (void)cudaGetLastError();
}

Status Stream::make(Stream* stream) {
  Stream made;
  cudaStream_t handle = nullptr;
  const cudaError_t error = cudaStreamCreateWithFlags(&handle, cudaStreamNonBlocking);
  made.handle_ = handle;
  *stream = std::move(made);
  return status_of(error, "making a stream");
}

Status Stream::copy_in(void* device, const void* host, std::int64_t bytes) {
  if (bytes == 0) return {};
  return status_of(cudaMemcpyAsync(device, host, static_cast<std::size_t>(bytes),
                                   cudaMemcpyDefault, static_cast<cudaStream_t>(handle_)),
                   "copying to the device");
}

Status Stream::copy_out(void* host, const void* device, std::int64_t bytes) {
  if (bytes == 0) return {};
  return status_of(cudaMemcpyAsync(host, device, static_cast<std::size_t>(bytes),
                                   cudaMemcpyDeviceToHost, static_cast<cudaStream_t>(handle_)),
                   "copying from the device");
}

Status Stream::fill(void* device, int byte, std::int64_t bytes) {
  if (bytes == 0) return {};
  return status_of(cudaMemsetAsync(device, byte, static_cast<std::size_t>(bytes),
                                   static_cast<cudaStream_t>(handle_)),
                   "filling memory");
}

Status Stream::begin_recording() {
  return status_of(cudaStreamBeginCapture(static_cast<cudaStream_t>(handle_),
                                          cudaStreamCaptureModeRelaxed),
                   "beginning a graph");
}

Status Stream::end_recording(Graph* graph) {
  cudaGraph_t recorded = nullptr;
  cudaError_t error = cudaStreamEndCapture(static_cast<cudaStream_t>(handle_), &recorded);
  if (error != cudaSuccess) return status_of(error, "ending a graph");
  Graph made;
  cudaGraphExec_t runnable = nullptr;
  error = cudaGraphInstantiate(&runnable, recorded, 0);
  (void)cudaGraphDestroy(recorded);
  if (error != cudaSuccess) return status_of(error, "making a graph");
  made.handle_ = runnable;
  *graph = std::move(made);
  return {};
}

Status Stream::run(const Graph& graph) {
  return status_of(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph.handle_),
                                   static_cast<cudaStream_t>(handle_)),
                   "running a graph");
}

Status Stream::wait() {
  return status_of(cudaStreamSynchronize(static_cast<cudaStream_t>(handle_)),
                   "waiting for the device");
}

}  // namespace weft::cuda
