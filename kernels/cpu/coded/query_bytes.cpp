#include "cpu/coded/query_bytes.h"

#include <algorithm>
#include <cmath>

namespace weft::cpu {
namespace {

float largest_component(const float* vector, std::int64_t dim) {
  float largest = 0;
  for (std::int64_t d = 0; d < dim; ++d) largest = std::max(largest, std::fabs(vector[d]));
  return largest;
}

// Where byte `place` of column j stands in panels of rows of row_bytes.
std::int64_t panel_place(std::int64_t j, std::int64_t place, std::int64_t row_bytes) {
  return ((j / kBytePanel * row_bytes / 4 + place / 4) * kBytePanel + j % kBytePanel) * 4 +
         place % 4;
}

}  // namespace

QueryBytes quantize_query(const Matrix<float>& query, int levels, const ResidualLayout& layout,
                          Memory& memory) {
  const std::int64_t dim = query.columns;
  const std::int64_t columns = padded(query.rows, kBytePanel);
  const std::int64_t row_bytes = padded(dim, 4);
  std::int8_t* natural = memory.query.resize(columns * row_bytes);
  std::int8_t* planes = memory.residual_query.resize(columns * layout.row_bytes);
  float* scales = memory.columns.resize(3 * columns);
  float* sums = scales + columns;
  float* norms = sums + columns;
  std::fill_n(natural, columns * row_bytes, std::int8_t{0});
  std::fill_n(planes, columns * layout.row_bytes, std::int8_t{0});
  std::fill_n(scales, 3 * columns, 0.0F);
  for (std::int64_t j = 0; j < query.rows; ++j) {
    const float* vector = query.row(j);
    const float largest = largest_component(vector, dim);
    const float inverse = largest > 0 ? static_cast<float>(levels) / largest : 0.0F;
    if (!std::isfinite(inverse)) continue;  // as good as zero
    std::int64_t sum = 0;
    double square = 0;
    for (std::int64_t d = 0; d < dim; ++d) {
      const auto byte = static_cast<std::int8_t>(std::lrintf(vector[d] * inverse));
      natural[panel_place(j, d, row_bytes)] = byte;
      const std::int64_t place = d % layout.planes * layout.packed_bytes + d / layout.planes;
      planes[panel_place(j, place, layout.row_bytes)] = byte;
      sum += byte;
      square += double{vector[d]} * vector[d];
    }
    scales[j] = largest / static_cast<float>(levels);
    sums[j] = scales[j] * static_cast<float>(sum);
    norms[j] = static_cast<float>(std::sqrt(square));
  }
  return {query.rows, columns, natural, planes, scales, sums, norms};
}

}  // namespace weft::cpu
