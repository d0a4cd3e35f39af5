// Sums of rows by group: what moves centroids.
#pragma once

#include "weft/arrays.h"
#include "weft/status.h"

namespace weft {

// sums[g] = the sum of the rows whose group is g, in order of rows and in float64, rounded once.
//   rows     float32 or float16 [n, dim], dim 1 to kMaxDim, n below 2^32
//   groups   uint16 or uint32 [n]; invalid value: not below n_groups
//   threads  0 (default) to kMaxThreads
//   sums     float32 [n_groups, dim], written in full
Status sum_rows(const Embeddings& rows, const Codes& groups, std::int64_t n_groups, int threads,
                float* sums);

}  // namespace weft
