// The nearest centroid of each embedding.
#pragma once

#include "weft/arrays.h"
#include "weft/status.h"

namespace weft {

// codes[i] = the k with the highest dot(embeddings[i], centroids[k]), the lowest in a tie, and
// scores[i] that product. The n x K matrix is never stored.
//   embeddings  float32 [n, dim], dim 1 to kMaxDim; invalid value: holds NaN or infinity
//   centroids   float32 [K, dim], 1 <= K < 2^32; a NaN never wins; invalid value: an embedding
//               has no finite best score
//   threads     0 (default) to kMaxThreads
//   codes       uint32 [n]
//   scores      float32 [n]
Status assign(const Matrix<float>& embeddings, const Matrix<float>& centroids, int threads,
              std::uint32_t* codes, float* scores);

}  // namespace weft
