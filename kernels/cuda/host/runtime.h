// What the host side asks of a device. `device/runtime.cu` answers with CUDA, and
// `emulation/runtime.cpp` on the host; a module is linked with one of them.
#pragma once

#include <cstdint>
#include <new>
#include <string>
#include <utility>

#include "weft/status.h"

namespace weft::cuda {

// What body returns; memory that the host lacks is reported.
template <typename Body>
Status without_exceptions(Body&& body) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return Status::out_of_memory();
  }
}

struct Grid {
  std::uint32_t x = 1;
  std::uint32_t y = 1;
  std::uint32_t z = 1;
};

struct DeviceFacts {
  std::string name;
  int major = 0;
  int minor = 0;
  int processors = 0;
  std::int64_t memory_bytes = 0;
  std::int64_t free_bytes = 0;
};

Status count_devices(int* count);
Status read_facts(int device, DeviceFacts* facts);

// Calls of this thread are meant for this device from now on. Every entry point begins with it.
Status use_device(int device);

// Loads all kernels of the search now: at their first launch, while work is recorded, it may be
// refused.
Status load_search_kernels();

// Memory of the device, or memory of the host that the device can read (pinned).
class Memory {
 public:
  Memory() = default;
  Memory(Memory&& other) noexcept { swap(other); }
  Memory& operator=(Memory&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Memory();

  static Status on_device(std::int64_t bytes, Memory* memory);
  static Status pinned(std::int64_t bytes, Memory* memory);

  template <typename T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  std::int64_t bytes() const { return bytes_; }

 private:
  void swap(Memory& other) {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(pinned_, other.pinned_);
  }

  void* data_ = nullptr;
  std::int64_t bytes_ = 0;
  bool pinned_ = false;
};

// Work that was recorded once, to be run as a whole.
class Graph {
 public:
  Graph() = default;
  Graph(Graph&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Graph& operator=(Graph&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Graph();

 private:
  friend class Stream;
  void* handle_ = nullptr;
};

// A queue of work. Everything but `wait` returns at once; what is copied must stay until then.
class Stream {
 public:
  Stream() = default;
  Stream(Stream&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Stream& operator=(Stream&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Stream();

  static Status make(Stream* stream);

  Status copy_in(void* device, const void* host, std::int64_t bytes);
  Status copy_out(void* host, const void* device, std::int64_t bytes);
  Status fill(void* device, int byte, std::int64_t bytes);

  // Defined by the runtimes for the kernels that kernels.h lists.
  template <typename Kernel>
  Status launch(const Kernel& kernel, Grid grid);

  // Between the two, work is recorded instead of done. Ends even where recording failed.
  Status begin_recording();
  Status end_recording(Graph* graph);
  Status run(const Graph& graph);

  Status wait();

 private:
  void* handle_ = nullptr;
};

}  // namespace weft::cuda
