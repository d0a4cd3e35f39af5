// Vectors laid out as a target's dot product wants them.
#pragma once

#include "cpu/buffer.h"
#include "cpu/primitives.h"
#include "weft/arrays.h"

namespace weft::cpu {

inline std::int64_t panels_for(std::int64_t n_vectors, std::int64_t lanes) {
  return (n_vectors + lanes - 1) / lanes;
}

// Writes the panels of n_vectors rows of dim floats; see cpu/primitives.h.
inline void write_panels(const float* vectors, std::int64_t n_vectors, std::int64_t dim,
                         std::int64_t lanes, float* panels) {
  for (std::int64_t p = 0; p < panels_for(n_vectors, lanes); ++p) {
    for (std::int64_t d = 0; d < dim; ++d) {
      for (std::int64_t j = 0; j < lanes; ++j) {
        const std::int64_t i = p * lanes + j;
        panels[(p * dim + d) * lanes + j] = i < n_vectors ? vectors[i * dim + d] : 0.0F;
      }
    }
  }
}

// A query's vectors as panels.
class Panels {
 public:
  Panels(const Matrix<float>& vectors, std::int64_t lanes)
      : count_(panels_for(vectors.rows, lanes)),
        columns_(count_ * lanes),
        data_(columns_, vectors.columns) {
    write_panels(vectors.data, vectors.rows, vectors.columns, lanes, data_.data());
  }

  const float* data() const { return data_.data(); }
  std::int64_t count() const { return count_; }
  std::int64_t columns() const { return columns_; }  // vectors, rounded up to whole panels

 private:
  std::int64_t count_;
  std::int64_t columns_;
  Buffer<float> data_;
};

}  // namespace weft::cpu
