#include "cpu/byte_rows.h"

#include <algorithm>
#include <cmath>

#include "cpu/thread_pool.h"

namespace weft::cpu {
namespace {

constexpr int kRowLevels = 127;
constexpr std::uint8_t kZero = 128;  // the unsigned byte of no step
constexpr std::int64_t kRowsPerChunk = 1024;
// Scores of keys stay within this and its negative.
constexpr float kHighestScore = 1 << 20;
constexpr float kRangeLevels = 255;

}  // namespace

Steps quantize(const float* row, std::int64_t dim, int levels, std::uint8_t offset,
               std::uint8_t* bytes) {
  std::fill_n(bytes + dim, row_bytes(dim) - dim, offset);
  const Steps steps = round_to_steps(row, dim, levels, [=](std::int64_t d, std::int32_t step) {
    bytes[d] = static_cast<std::uint8_t>(step + offset);
  });
  if (steps.step == 0) std::fill_n(bytes, dim, offset);
  return steps;
}

RowScale quantize_range(const float* values, std::int64_t n, std::uint8_t* bytes) {
  const auto [low, high] = std::minmax_element(values, values + n);
  // Each divided by itself: their difference may be beyond what a float holds.
  const float step = *high / kRangeLevels - *low / kRangeLevels;
  const RowScale scale{step > 0 ? step : 1.0F, *low};
  for (std::int64_t i = 0; i < n; ++i) {
    const float place = (values[i] / scale.scale) - (scale.low / scale.scale);
    bytes[i] = static_cast<std::uint8_t>(std::clamp(std::nearbyint(place), 0.0F, kRangeLevels));
  }
  return scale;
}

float norm(const float* row, std::int64_t dim) {
  double square = 0;
  for (std::int64_t d = 0; d < dim; ++d) square += double{row[d]} * row[d];
  return static_cast<float>(std::sqrt(square));
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
