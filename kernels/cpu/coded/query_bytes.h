// A query in bytes, and how sums of products of bytes become scores again.
#pragma once

#include "cpu/byte_rows.h"
#include "cpu/coded/memory.h"
#include "weft/arrays.h"

namespace weft::cpu {

// Query vector j is scales[j] times its bytes, and its components add up to sums[j]. Columns
// beyond the query are zero. Views of a Memory.
struct QueryBytes {
  std::int64_t n_vectors = 0;
  std::int64_t columns = 0;  // n_vectors rounded up to whole panels
  const std::int8_t* centroid_panels = nullptr;
  const std::int8_t* residual_panels = nullptr;
  const float* scales = nullptr;
  const float* sums = nullptr;
  const float* norms = nullptr;
};

// How residuals of `bits` bits per component are laid out once unpacked: component
// i * planes + p stands at byte p * packed_bytes + i.
struct ResidualLayout {
  ResidualLayout(std::int64_t dim, int bits)
      : planes(8 / bits), packed_bytes((dim + planes - 1) / planes),
        row_bytes(padded(planes * packed_bytes, 4)) {}

  std::int64_t planes;
  std::int64_t packed_bytes;
  std::int64_t row_bytes;
};

// levels: of the target, see Primitives::query_levels.
QueryBytes quantize_query(const Matrix<float>& query, int levels, const ResidualLayout& layout,
                          Memory& memory);

}  // namespace weft::cpu
