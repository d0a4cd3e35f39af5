// Squared lengths of rows: whether they are finite, and of length 1.
#pragma once

#include "weft/arrays.h"
#include "weft/status.h"

namespace weft {

// lengths[i] = the dot product of row i with itself, in float32.
//   rows      float32 or float16 [n, dim], dim 1 to kMaxDim; NaN and infinity give such lengths,
//             and so does what overflows
//   threads   0 (default) to kMaxThreads
//   lengths   float32 [n]
Status squared_lengths(const Embeddings& rows, int threads, float* lengths);

}  // namespace weft
