// Which centroids each query vector probes.
#pragma once

#include <cstdint>

#include "cpu/coded/stages.h"

namespace weft::cpu {

// Column j probes memory.probes[begins[j]] to [ends[j]], best first; a view of memory.
struct Probes {
  const std::int64_t* begins = nullptr;
  const std::int64_t* ends = nullptr;

  static std::uint8_t byte(Probe probe) { return static_cast<std::uint8_t>(255 - (probe >> 32)); }
  static std::uint32_t centroid(Probe probe) { return static_cast<std::uint32_t>(probe); }
};

// The best limits.nprobe of the first n_centroids for each column, or all where there are fewer;
// the lower number first in a tie, as between all that are byte 0.
Status choose_probes(Search& search, std::int64_t n_centroids, Probes* probes);

}  // namespace weft::cpu
