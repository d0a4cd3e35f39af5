#include "cpu/coded/rotated_query.h"

#include <algorithm>

#include "cpu/panels.h"

namespace weft::cpu {
namespace {

std::int64_t width_of(const BlockRotation& rotation, const Primitives& primitives) {
  return panels_for(rotation.size(), primitives.lanes) * primitives.lanes;
}

// The rotation's columns as panels, see cpu/primitives.h; its rows hold them side by side already.
void write_columns(const BlockRotation& rotation, std::int64_t lanes, float* panels) {
  const std::int64_t size = rotation.size();
  for (std::int64_t first = 0; first < size; first += lanes) {
    const std::int64_t n = std::min(lanes, size - first);
    for (std::int64_t d = 0; d < size; ++d, panels += lanes) {
      std::copy_n(rotation.row(d) + first, n, panels);
      std::fill_n(panels + n, lanes - n, 0.0F);
    }
  }
}

}  // namespace

BlockRotation::BlockRotation(const Matrix<float>& matrix)
    : size_(matrix.rows), values_(matrix.data, matrix.data + matrix.rows * matrix.columns) {}

RotatedQuery::RotatedQuery(const BlockRotation& rotation, const Primitives& primitives,
                           const Matrix<float>& query)
    : memory_(rotation.turns() ? (query.rows + 1) * query.columns +
                                     width_of(rotation, primitives) *
                                         (rotation.size() + query.columns / rotation.size())
                               : 0),
      view_(query) {
  if (!rotation.turns()) return;
  const std::int64_t n = query.rows * query.columns;
  view_.data = memory_.data();
  turn(rotation, primitives, query, memory_.data() + n);
}

void RotatedQuery::turn(const BlockRotation& rotation, const Primitives& primitives,
                        const Matrix<float>& query, float* scratch) {
  const std::int64_t size = rotation.size(), width = width_of(rotation, primitives);
  const std::int64_t n_blocks = query.columns / size;
  float* const panels = scratch;
  float* const blocks = panels + width * size;   // [n_blocks, size] of one query vector
  float* const turned = blocks + query.columns;  // [n_blocks, width]
  float* out = memory_.data();
  write_columns(rotation, primitives.lanes, panels);
  for (std::int64_t i = 0; i < query.rows; ++i) {
    const float* const row = query.row(i);
    for (std::int64_t d = 0; d < size; ++d) {
      for (std::int64_t b = 0; b < n_blocks; ++b) blocks[b * size + d] = row[d * n_blocks + b];
    }
    primitives.dot(blocks, n_blocks, size, panels, width / primitives.lanes, turned);
    for (std::int64_t b = 0; b < n_blocks; ++b, out += size) {
      std::copy_n(turned + b * width, size, out);
    }
  }
}

}  // namespace weft::cpu
