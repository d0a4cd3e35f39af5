// One persistent pool of threads for all kernels, and loops that run on it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "weft/status.h"

namespace weft::cpu {

// A loop cut into chunks: call(context, chunk, worker) for each chunk in [0, n_chunks), with
// `worker` in [0, workers) for none but one thread at a time.
struct ChunkedLoop {
  Status (*call)(void* context, std::int64_t chunk, int worker) noexcept;
  void* context;
  std::int64_t n_chunks;
  int workers;
};

// Runs a loop on the calling thread and up to workers - 1 of the pool's. Threads start when first
// wanted. Any number of callers may run loops at once; none waits for another's. A child of fork()
// has a pool of its own. Returns the status of the lowest chunk that failed; all chunks run.
Status run_on_pool(const ChunkedLoop& loop);

// While one lives, the pool's threads that have nothing to do look for work for a while before they
// sleep: a search of many short loops would else wait for them to wake up in each.
class AwakePool {
 public:
  explicit AwakePool(int threads);
  ~AwakePool();
  AwakePool(const AwakePool&) = delete;
  AwakePool& operator=(const AwakePool&) = delete;

 private:
  bool counted_;
};

// The cores that this process may run on.
int usable_cores();

// How many threads a kernel runs on. Invalid value: WEFT_THREADS is set to no usable number.
Status resolve_threads(int threads, int* resolved);

// How a range of items is shared out: `workers` and the chunks follow from it.
struct Partition {
  Partition(std::int64_t n_items, std::int64_t items_per_chunk, int threads)
      : items(n_items), grain(std::max<std::int64_t>(items_per_chunk, 1)) {
    chunks = items / grain + (items % grain != 0 ? 1 : 0);
    workers = static_cast<int>(std::clamp<std::int64_t>(chunks, 1, threads));
  }

  std::int64_t items;
  std::int64_t grain;
  std::int64_t chunks;
  int workers;
};

// body(begin, end, worker) -> Status over the chunks of a partition. Chunks do not depend on the
// number of threads, and so neither does what is computed from them.
template <typename Body>
Status parallel_for(const Partition& partition, Body&& body) {
  struct Context {
    const Partition& partition;
    Body& body;
  } context{partition, body};
  const auto call = [](void* opaque, std::int64_t chunk, int worker) noexcept -> Status {
    const auto& [shared, run] = *static_cast<Context*>(opaque);
    const std::int64_t begin = chunk * shared.grain;
    try {
      return run(begin, std::min(begin + shared.grain, shared.items), worker);
    } catch (...) {  // bad_alloc, or a length that no container can have
      return Status::out_of_memory();
    }
  };
  return run_on_pool({call, &context, partition.chunks, partition.workers});
}

}  // namespace weft::cpu
