#include "cpu/byte_rows.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "cpu/primitives.h"
#include "cpu/thread_pool.h"

namespace weft::cpu {
namespace {

constexpr int kRowLevels = 127;
constexpr std::uint8_t kZero = 128;  // the unsigned byte of no step
constexpr std::int64_t kRowsPerChunk = 1024;
// Scores of keys stay within this and its negative.
constexpr float kHighestScore = 1 << 20;

// By their bits, which compilers compare many at a time.
float largest_component(const float* row, std::int64_t dim) {
  std::int32_t largest = 0;
  for (std::int64_t d = 0; d < dim; ++d) {
    const std::int32_t bits = std::bit_cast<std::int32_t>(row[d]) & 0x7FFFFFFF;
    largest = bits > largest ? bits : largest;
  }
  return std::bit_cast<float>(largest);
}

// Adding this rounds a small number to a whole one, which then stands in the low bits.
constexpr float kRounder = 12582912.0F;  // 1.5 * 2^23

}  // namespace

Steps quantize(const float* row, std::int64_t dim, int levels, std::uint8_t offset,
               std::uint8_t* bytes) {
  std::fill_n(bytes + dim, row_bytes(dim) - dim, offset);
  const float largest = largest_component(row, dim);
  const float inverse = static_cast<float>(levels) / largest;
  if (!std::isfinite(inverse)) {
    std::fill_n(bytes, dim, offset);
    return {};
  }
  std::int32_t sum = 0;
  std::int32_t square = 0;
  for (std::int64_t d = 0; d < dim; ++d) {
    const float place = row[d] * inverse + kRounder;
    const std::int32_t steps =
        std::bit_cast<std::int32_t>(place) - std::bit_cast<std::int32_t>(kRounder);
    bytes[d] = static_cast<std::uint8_t>(steps + offset);
    sum += steps;
    square += steps * steps;
  }
  return {largest / static_cast<float>(levels), std::sqrt(static_cast<float>(square)), sum};
}

ByteRows::ByteRows(const Matrix<float>& rows, int levels, int threads)
    : width(row_bytes(rows.columns)), bytes(rows.rows, width), factors(rows.rows) {
  Buffer<float> lengths(rows.rows);
  const Partition partition(rows.rows, kRowsPerChunk, threads);
  // Cannot fail: rounding allocates nothing.
  static_cast<void>(parallel_for(partition, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t i = begin; i < end; ++i) {
      const Steps steps =
          quantize(rows.row(i), rows.columns, kRowLevels, kZero, bytes.data() + i * width);
      factors[i] = steps.step;
      lengths[i] = steps.step * steps.length;
    }
    return Status();
  }));
  const float widest = *std::max_element(factors.data(), factors.data() + rows.rows);
  const float most = *std::max_element(lengths.data(), lengths.data() + rows.rows);
  const float highest = static_cast<float>(kRowLevels) * static_cast<float>(levels) *
                        static_cast<float>(rows.columns);
  scale = kHighestScore / highest;
  for (std::int64_t i = 0; i < rows.rows; ++i) {
    factors[i] = widest > 0 ? factors[i] / widest * scale : 0.0F;
  }
  longest = widest > 0 ? most / widest : 0.0F;
}

}  // namespace weft::cpu
