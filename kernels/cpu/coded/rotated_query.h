// A query turned as a codec's centroids and residuals are.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/buffer.h"
#include "cpu/primitives.h"
#include "weft/arrays.h"
#include "weft/status.h"

namespace weft::cpu {

// A rotation of blocks of components; block i of dim / size holds the components i, i + dim / size,
// i + 2 dim / size and so on.
class BlockRotation {
 public:
  BlockRotation() = default;  // turns nothing
  explicit BlockRotation(const Matrix<float>& matrix);

  bool turns() const { return size_ > 0; }
  std::int64_t size() const { return size_; }
  // [size], what component d of a block adds to each component of the turned one.
  const float* row(std::int64_t d) const { return values_.data() + d * size_; }

 private:
  std::int64_t size_ = 0;
  std::vector<float> values_;
};

class RotatedQuery {
 public:
  // The query is kept by reference where there is nothing to turn.
  RotatedQuery(const BlockRotation& rotation, const Primitives& primitives,
               const Matrix<float>& query);
  RotatedQuery(const RotatedQuery&) = delete;
  RotatedQuery& operator=(const RotatedQuery&) = delete;

  const Matrix<float>& view() const { return view_; }

 private:
  void turn(const BlockRotation& rotation, const Primitives& primitives,
            const Matrix<float>& query, float* scratch);

  Buffer<float> memory_;
  Matrix<float> view_;
};

}  // namespace weft::cpu
