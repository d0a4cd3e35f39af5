#include "cpu/coded/query_bytes.h"

#include <algorithm>

#include "cpu/byte_rows.h"

namespace weft::cpu {
namespace {

// Where byte `place` of column j stands in panels of rows of row_bytes.
std::int64_t panel_place(std::int64_t j, std::int64_t place, std::int64_t row_bytes) {
  const std::int64_t group = j / kBytePanelColumns * row_bytes / 4 + place / 4;
  return (group * kBytePanelColumns + j % kBytePanelColumns) * 4 + place % 4;
}

}  // namespace

QueryBytes quantize_query(const Matrix<float>& query, int levels, const ResidualLayout& layout,
                          Memory& memory) {
  const std::int64_t dim = query.columns;
  const std::int64_t columns = padded(query.rows, kBytePanelColumns);
  const std::int64_t row_bytes = cpu::row_bytes(dim);
  std::int8_t* natural = memory.query.resize(columns * row_bytes);
  std::int8_t* planes = memory.residual_query.resize(columns * layout.row_bytes);
  float* scales = memory.columns.resize(3 * columns);
  float* sums = scales + columns;
  float* norms = sums + columns;
  std::fill_n(natural, columns * row_bytes, std::int8_t{0});
  std::fill_n(planes, columns * layout.row_bytes, std::int8_t{0});
  std::fill_n(scales, 3 * columns, 0.0F);
  for (std::int64_t j = 0; j < query.rows; ++j) {
    const Steps steps =
        round_to_steps(query.row(j), dim, levels, [&](std::int64_t d, std::int32_t step) {
          const auto byte = static_cast<std::int8_t>(step);
          natural[panel_place(j, d, row_bytes)] = byte;
          const std::int64_t place = d % layout.planes * layout.packed_bytes + d / layout.planes;
          planes[panel_place(j, place, layout.row_bytes)] = byte;
        });
    scales[j] = steps.step;
    sums[j] = steps.step * static_cast<float>(steps.sum);
    norms[j] = steps.step > 0 ? norm(query.row(j), dim) : 0.0F;
  }
  return {query.rows, columns, natural, planes, scales, sums, norms};
}

}  // namespace weft::cpu
