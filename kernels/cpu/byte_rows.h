// Rows of floats as bytes, for approximate products.
#pragma once

#include <cstdint>

#include "cpu/buffer.h"
#include "weft/arrays.h"

namespace weft::cpu {

inline constexpr std::int64_t kBytePanelColumns = 32;

// Bytes of a row in products: whole groups of four.
inline std::int64_t row_bytes(std::int64_t dim) { return (dim + 3) / 4 * 4; }

// A row rounded to whole steps within [-levels, levels].
struct Steps {
  float step;    // what one step is worth; 0 for a row of zeros or nearly so
  float length;  // of the rounded row, in steps
  std::int32_t sum;
};

// Writes the steps of a finite row, less or more an offset, as bytes; up to row_bytes(dim), steps
// of 0 beyond dim.
Steps quantize(const float* row, std::int64_t dim, int levels, std::uint8_t offset,
               std::uint8_t* bytes);

// Rows as unsigned bytes, with factors that make their products comparable with each other: the
// left side of `dot_bytes`, and what `best_keys` wants.
struct ByteRows {
  // The other side of the products has steps within [-levels, levels].
  ByteRows(const Matrix<float>& rows, int levels, int threads);

  const std::uint8_t* row(std::int64_t i) const { return bytes.data() + i * width; }

  std::int64_t width;
  Buffer<std::uint8_t> bytes;
  Buffer<float> factors;
  float scale = 0;    // a score per product of a step of the widest row and one of the other side
  float longest = 0;  // the longest row, in steps of the widest
};

}  // namespace weft::cpu
