// A dot product in an order of its own, for single pairs of rows.
#pragma once

#include <cstdint>

namespace weft::cpu {

// Sixteen sums in a fixed order: the same on every target.
inline float fixed_dot(const float* left, const float* right, std::int64_t dim) {
  using Four = float __attribute__((vector_size(16)));
  Four sums[4] = {};
  std::int64_t d = 0;
  for (; d + 16 <= dim; d += 16) {
    Four a[4];
    Four b[4];
    __builtin_memcpy(a, left + d, sizeof a);
    __builtin_memcpy(b, right + d, sizeof b);
    for (int i = 0; i < 4; ++i) sums[i] += a[i] * b[i];
  }
  for (; d < dim; ++d) sums[d / 4 % 4][d % 4] += left[d] * right[d];
  const Four sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

}  // namespace weft::cpu
