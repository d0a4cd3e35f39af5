// How tests steer the runtime on the host: what fails, how much memory there is, in which order
// threads run; and what they learn from it.
#pragma once

#include <cstdint>

#include "cuda/emulation/block.h"

namespace weft::cuda {

struct Emulation {
  int n_devices = 1;
  std::int64_t memory_bytes = std::int64_t{1} << 33;  // of the device
  device::Order order = device::Order::kForward;
  std::int64_t fail_after = -1;  // so many calls succeed; negative: all do
  bool fail_for_memory = false;  // how that call fails: for memory, or for good
  bool fail_once = true;         // the calls after it succeed again
  std::int64_t n_calls = 0;      // so far
  std::int64_t used_bytes = 0;   // of the device
  std::int64_t n_overruns = 0;   // memory that was written beyond its end or before its start
  std::int64_t n_launches = 0;
  std::int64_t n_recorded = 0;   // launches that went into graphs
};

// Changed between searches only.
Emulation& emulation();

}  // namespace weft::cuda
