// MaxSim on embeddings, and on what residual compression keeps of them.
#pragma once

#include "weft/arrays.h"
#include "weft/status.h"

namespace weft {

// result[i] = sum over j of the maximum over the tokens t of passage pids[i] of
// dot(query[j], embeddings[t]). NaN never is a maximum; -inf for a passage without tokens.
//   query       float32 [nq, dim], nq >= 1, dim 1 to kMaxDim, finite
//   embeddings  float32 or float16 [n, dim]
//   passages    offsets within [0, n] and not decreasing in visited passages; pids below P
//   threads     0 (default) to kMaxThreads
//   result      float32 [passages.count()], written in full
Status maxsim(const Matrix<float>& query, const Embeddings& embeddings, const Passages& passages,
              int threads, float* result);

// The same with a token's score (scores[code, j] + dot(query[j], weights)) * inverse norm, where
// weights are buckets.weights of the token's residual.
//   scores   float32 [K, nq], nq 1 to kMaxColumns
//   tokens   codes below K in visited passages; residuals of ceil(dim * bits / 8) bytes
Status maxsim_residual(const Matrix<float>& query, const Matrix<float>& scores,
                       const CodedTokens& tokens, const Buckets& buckets,
                       const Passages& passages, int threads, float* result);

}  // namespace weft
