// The best of a list of scores.
#pragma once

#include <span>

#include "weft/arrays.h"
#include "weft/status.h"

namespace weft {

// Indices of the k best scores, best first, the lower index first in a tie.
//   scores  float32 [n], n < 2^32; invalid value: holds NaN
//   k       0 to n
//   best    uint32 [k], written in full
Status topk(std::span<const float> scores, std::int64_t k, std::uint32_t* best);

}  // namespace weft
