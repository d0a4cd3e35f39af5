// A device on the host. Work waits until somebody waits for it, as on a device it may; memory
// comes full of rubbish, with guards at both ends.
#include "cuda/host/runtime.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "cuda/emulation/control.h"
#include "cuda/host/kernels.h"

namespace weft::cuda {
namespace {

constexpr std::int64_t kGuard = 256;
constexpr int kRubbish = 0xA5;
constexpr int kGuardByte = 0x5A;

using Work = std::vector<std::function<void()>>;

struct HostStream {
  Work waiting;
  Work recorded;
  bool recording = false;

  void add(std::function<void()> one) { (recording ? recorded : waiting).push_back(std::move(one)); }
};

std::mutex& mutex() {
  static std::mutex instance;
  return instance;
}

HostStream& stream_of(void* handle) { return *static_cast<HostStream*>(handle); }

// Whether this call is the one that fails.
Status step(const char* tried) {
  const std::lock_guard lock(mutex());
  Emulation& state = emulation();
  const std::int64_t number = state.n_calls++;
  const bool fails = state.fail_after >= 0 && (state.fail_once ? number == state.fail_after
                                                               : number >= state.fail_after);
  if (!fails) return {};
  const std::string message = std::string(tried) + ": failed on purpose";
  return state.fail_for_memory ? Status::device_memory(message) : Status::device_failed(message);
}

template <typename Kernel>
void run_grid(const Kernel& kernel, Grid grid) {
  const device::Order order = emulation().order;
  // Whole 16 bytes, so that shared memory is aligned as it is on a device.
  struct alignas(16) Line {
    unsigned char bytes[16];
  };
  std::vector<Line> shared(sizeof(typename Kernel::Shared) / sizeof(Line) + 1);
  const device::HostGrid whole{grid.x, grid.y, grid.z};
  for (std::uint32_t z = 0; z < grid.z; ++z) {
    for (std::uint32_t y = 0; y < grid.y; ++y) {
      for (std::uint32_t i = 0; i < grid.x; ++i) {
        const std::uint32_t x = order == device::Order::kForward ? i : grid.x - 1 - i;
        std::memset(shared.data(), kRubbish, shared.size() * sizeof(Line));
        device::HostBlock<Kernel::kThreads> block({x, y, z}, whole, order);
        kernel(block, *reinterpret_cast<typename Kernel::Shared*>(shared.data()));
      }
    }
  }
}

bool intact(const unsigned char* guard) {
  return std::all_of(guard, guard + kGuard, [](unsigned char byte) { return byte == kGuardByte; });
}

Status allocate(std::int64_t bytes, const char* tried, bool pinned, void** data) {
  if (Status status = step(tried); !status.ok()) return status;
  {
    const std::lock_guard lock(mutex());
    Emulation& state = emulation();
    if (!pinned && bytes > state.memory_bytes - state.used_bytes) {
      return Status::device_memory(std::string(tried) + ": " + std::to_string(bytes) +
                                   " bytes are more than there are");
    }
    if (!pinned) state.used_bytes += bytes;
  }
  auto* const memory = static_cast<unsigned char*>(
      std::aligned_alloc(kGuard, static_cast<std::size_t>(device::padded_to(bytes, kGuard) +
                                                          2 * kGuard)));
  if (memory == nullptr) throw std::bad_alloc();
  std::memset(memory, kGuardByte, kGuard);
  std::memset(memory + kGuard, kRubbish, static_cast<std::size_t>(bytes));
  std::memset(memory + kGuard + bytes, kGuardByte, kGuard);
  *data = memory + kGuard;
  return {};
}

}  // namespace

Emulation& emulation() {
  static Emulation instance;
  return instance;
}

Status count_devices(int* count) {
  *count = emulation().n_devices;
  return step("counting devices");
}

Status read_facts(int device, DeviceFacts* facts) {
  if (Status status = use_device(device); !status.ok()) return status;
  const std::lock_guard lock(mutex());
  const Emulation& state = emulation();
  *facts = {"emulation on the host", 0, 0, 1, state.memory_bytes,
            state.memory_bytes - state.used_bytes};
  return {};
}

Status use_device(int device) {
  if (device >= emulation().n_devices) return Status::device_failed("choosing a device: no such");
  return step("choosing a device");
}

Status load_search_kernels() { return step("loading kernels"); }

Status Memory::on_device(std::int64_t bytes, Memory* memory) {
  Memory made;
  Status status = allocate(bytes, "allocating", false, &made.data_);
  made.bytes_ = bytes;
  if (status.ok()) *memory = std::move(made);
  return status;
}

Status Memory::pinned(std::int64_t bytes, Memory* memory) {
  Memory made;
  Status status = allocate(bytes, "pinning", true, &made.data_);
  made.bytes_ = bytes;
  made.pinned_ = true;
  if (status.ok()) *memory = std::move(made);
  return status;
}

Memory::~Memory() {
  if (data_ == nullptr) return;
  auto* const bytes = static_cast<unsigned char*>(data_);
  const std::lock_guard lock(mutex());
  if (!intact(bytes - kGuard) || !intact(bytes + bytes_)) ++emulation().n_overruns;
  if (!pinned_) emulation().used_bytes -= bytes_;
  std::free(bytes - kGuard);
}

Graph::~Graph() { delete static_cast<Work*>(handle_); }

// What still waits is meant for memory that may be gone: where CUDA would wait, it is dropped.
Stream::~Stream() { delete static_cast<HostStream*>(handle_); }

Status Stream::make(Stream* stream) {
  if (Status status = step("making a stream"); !status.ok()) return status;
  Stream made;
  made.handle_ = new HostStream();
  *stream = std::move(made);
  return {};
}

Status Stream::copy_in(void* device, const void* host, std::int64_t bytes) {
  if (Status status = step("copying to the device"); !status.ok()) return status;
  if (bytes == 0) return {};
  stream_of(handle_).add([=] { std::memcpy(device, host, static_cast<std::size_t>(bytes)); });
  return {};
}

Status Stream::copy_out(void* host, const void* device, std::int64_t bytes) {
  if (Status status = step("copying from the device"); !status.ok()) return status;
  if (bytes == 0) return {};
  stream_of(handle_).add([=] { std::memcpy(host, device, static_cast<std::size_t>(bytes)); });
  return {};
}

Status Stream::fill(void* device, int byte, std::int64_t bytes) {
  if (Status status = step("filling memory"); !status.ok()) return status;
  if (bytes == 0) return {};
  stream_of(handle_).add([=] { std::memset(device, byte, static_cast<std::size_t>(bytes)); });
  return {};
}

template <typename Kernel>
Status Stream::launch(const Kernel& kernel, Grid grid) {
  if (Status status = step("launching a kernel"); !status.ok()) return status;
  HostStream& stream = stream_of(handle_);
  {
    const std::lock_guard lock(mutex());
    ++emulation().n_launches;
    emulation().n_recorded += stream.recording ? 1 : 0;
  }
  stream.add([kernel, grid] { run_grid(kernel, grid); });
  return {};
}

Status Stream::begin_recording() {
  if (Status status = step("beginning a graph"); !status.ok()) return status;
  stream_of(handle_).recording = true;
  return {};
}

Status Stream::end_recording(Graph* graph) {
  HostStream& stream = stream_of(handle_);
  if (!stream.recording) return Status::device_failed("ending a graph: none was begun");
  stream.recording = false;
  auto work = std::make_unique<Work>(std::move(stream.recorded));
  stream.recorded.clear();
  if (Status status = step("ending a graph"); !status.ok()) return status;
  Graph made;
  made.handle_ = work.release();
  *graph = std::move(made);
  return {};
}

Status Stream::run(const Graph& graph) {
  if (Status status = step("running a graph"); !status.ok()) return status;
  for (const auto& one : *static_cast<const Work*>(graph.handle_)) stream_of(handle_).add(one);
  return {};
}

Status Stream::wait() {
  Work work = std::move(stream_of(handle_).waiting);
  stream_of(handle_).waiting.clear();
  if (Status status = step("waiting for the device"); !status.ok()) return status;
  for (const auto& one : work) one();
  return {};
}

#define WEFT_DEFINE(...) \
  template Status Stream::launch(const device::__VA_ARGS__& kernel, Grid grid);
WEFT_SEARCH_KERNELS(WEFT_DEFINE)
WEFT_BUILD_KERNELS(WEFT_DEFINE)
#undef WEFT_DEFINE

}  // namespace weft::cuda
