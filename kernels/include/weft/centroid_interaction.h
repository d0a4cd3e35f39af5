// Approximate MaxSim from the scores of the tokens' centroids.
#pragma once

#include <optional>

#include "weft/arrays.h"
#include "weft/status.h"

namespace weft {

// result[i] = sum over j of the maximum over the tokens t of passage pids[i] of
// scores[codes[t], j]; with a threshold only tokens whose row of scores reaches it take part.
// NaN never is a maximum; -inf where no token takes part.
//   scores     float32 [K, nq], nq 1 to kMaxColumns
//   codes      uint16 or uint32 [n], below K in visited passages
//   passages   offsets within [0, n] and not decreasing in visited passages; pids below P
//   threads    0 (default) to kMaxThreads
//   result     float32 [passages.count()], written in full
Status centroid_interaction(const Matrix<float>& scores, const Codes& codes,
                            const Passages& passages, std::optional<float> threshold, int threads,
                            float* result);

}  // namespace weft
