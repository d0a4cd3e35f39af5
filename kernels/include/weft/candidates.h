// The passages of the probed inverted lists.
#pragma once

#include <span>
#include <vector>

#include "weft/arrays.h"
#include "weft/status.h"

namespace weft {

// List i is pids[offsets[i]] to pids[offsets[i + 1]] and belongs to centroid numbers[i], or to
// centroid i where `dense`.
struct InvertedLists {
  std::span<const std::uint32_t> numbers;  // [m], strictly increasing; empty where dense
  bool dense = false;
  std::span<const std::int64_t> offsets;   // [m + 1], at least one
  std::span<const std::uint32_t> pids;     // [p]
};

// The sorted union of the probed lists, less the passages that are not allowed.
//   probes      uint32, any number, repeats allowed; below m where dense
//   n_passages  0 to 2^32 - 1; every pid of a visited list lies below it
//   allowed     uint8 [n_passages], zero means no; nullptr allows all
//   found       replaced by the result
// Invalid value: an offset, a pid or a probe out of its range, numbers not increasing.
Status candidates(std::span<const std::uint32_t> probes, const InvertedLists& lists,
                  std::int64_t n_passages, const std::uint8_t* allowed,
                  std::vector<std::uint32_t>* found);

}  // namespace weft
