// Scores of centroids against query vectors, and the best centroids of each query vector.
#pragma once

#include "weft/arrays.h"
#include "weft/status.h"

namespace weft {

// scores[k, j] = dot(centroids[k], query[j]); a row per centroid.
//   centroids  float32 [K, dim], K >= 0, dim 1 to kMaxDim
//   query      float32 [nq, dim], nq >= 1, finite
//   threads    0 (default) to kMaxThreads
//   scores     float32 [K, nq], written in full
Status centroid_scores(const Matrix<float>& centroids, const Matrix<float>& query, int threads,
                       float* scores);

// The best nprobe centroids of each column, best first, the lower number first in a tie.
//   scores  float32 [K, nq], K < 2^32, nq 1 to kMaxColumns; invalid value: holds NaN
//   nprobe  0 to K
//   best    uint32 [nq, nprobe], written in full
Status top_centroids(const Matrix<float>& scores, std::int64_t nprobe, std::uint32_t* best);

}  // namespace weft
