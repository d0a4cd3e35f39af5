// Rows of floats as bytes, for approximate products.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "cpu/buffer.h"
#include "cpu/primitives.h"
#include "weft/arrays.h"

namespace weft::cpu {

inline constexpr std::int64_t kBytePanelColumns = 32;

inline std::int64_t padded(std::int64_t n, std::int64_t step) {
  return (n + step - 1) / step * step;
}

// Bytes of a row in products: whole groups of four.
inline std::int64_t row_bytes(std::int64_t dim) { return padded(dim, 4); }

// A row rounded to whole steps within [-levels, levels].
struct Steps {
  float step;    // what one step is worth; 0 for a row of zeros or nearly so
  float length;  // of the rounded row, in steps
  std::int32_t sum;
};

// The greatest component of a finite row without its sign: by bits, which compilers compare many at
// a time.
inline float largest_component(const float* row, std::int64_t dim) {
  std::int32_t largest = 0;
  for (std::int64_t d = 0; d < dim; ++d) {
    const std::int32_t bits = std::bit_cast<std::int32_t>(row[d]) & 0x7FFFFFFF;
    largest = bits > largest ? bits : largest;
  }
  return std::bit_cast<float>(largest);
}

// Calls put(d, steps) for each component of a finite row, in order; for none where the row is zero
// or nearly so.
template <typename Put>
Steps round_to_steps(const float* row, std::int64_t dim, int levels, const Put& put) {
  // Adding this rounds a small number to a whole one, which then stands in the low bits.
  constexpr float kRounder = 12582912.0F;  // 1.5 * 2^23
  const float largest = largest_component(row, dim);
  const float inverse = static_cast<float>(levels) / largest;
  if (!std::isfinite(inverse)) return {};
  std::int32_t sum = 0;
  std::int32_t square = 0;
  for (std::int64_t d = 0; d < dim; ++d) {
    const float place = row[d] * inverse + kRounder;
    const std::int32_t steps =
        std::bit_cast<std::int32_t>(place) - std::bit_cast<std::int32_t>(kRounder);
    put(d, steps);
    sum += steps;
    square += steps * steps;
  }
  return {largest / static_cast<float>(levels), std::sqrt(static_cast<float>(square)), sum};
}

// Writes the steps of a finite row, less or more an offset, as bytes; up to row_bytes(dim), steps
// of 0 beyond dim.
Steps quantize(const float* row, std::int64_t dim, int levels, std::uint8_t offset,
               std::uint8_t* bytes);

// Writes n finite values as unsigned bytes of all 256 levels between the least and the greatest:
// value = low + scale * byte.
RowScale quantize_range(const float* values, std::int64_t n, std::uint8_t* bytes);

float norm(const float* row, std::int64_t dim);

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
