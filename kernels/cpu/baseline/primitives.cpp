// The portable target: plain loops, left to the compiler, and what the others are read against.
#include "cpu/primitives.h"

#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>

#include "cpu/baseline/bytes.inc"
#include "cpu/baseline/crc32c.h"
#include "cpu/baseline/keys.inc"

namespace weft::cpu {
namespace {

constexpr std::int64_t kLanes = 8;

// fmax without its rule about signalling NaN, in a form that compilers turn into one instruction.
inline float maximum(float value, float best) { return value > best ? value : best; }

// Four floats in a register of any architecture, by an extension that GCC and Clang share.
using Four = float __attribute__((vector_size(16)));
constexpr std::int64_t kFours = kLanes / 4;

Four load(const float* p) {
  Four v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

// A few rows at a time, so that the sums of one do not wait for each other.
template <std::int64_t kRows>
void dot_rows(const float* rows, std::int64_t dim, const float* panel, float* out,
              std::int64_t out_stride) {
  Four sums[kRows][kFours] = {};
  for (std::int64_t d = 0; d < dim; ++d) {
    for (std::int64_t r = 0; r < kRows; ++r) {
      for (std::int64_t v = 0; v < kFours; ++v) {
        sums[r][v] += rows[r * dim + d] * load(panel + d * kLanes + v * 4);
      }
    }
  }
  for (std::int64_t r = 0; r < kRows; ++r) {
    std::memcpy(out + r * out_stride, sums[r], sizeof sums[r]);
  }
}

void dot(const float* rows, std::int64_t n_rows, std::int64_t dim, const float* panels,
         std::int64_t n_panels, float* out) {
  const std::int64_t out_stride = n_panels * kLanes;
  for (std::int64_t p = 0; p < n_panels; ++p) {
    const float* panel = panels + p * dim * kLanes;
    float* target = out + p * kLanes;
    std::int64_t r = 0;
    for (; r + 4 <= n_rows; r += 4) {
      dot_rows<4>(rows + r * dim, dim, panel, target + r * out_stride, out_stride);
    }
    for (; r < n_rows; ++r) {
      dot_rows<1>(rows + r * dim, dim, panel, target + r * out_stride, out_stride);
    }
  }
}

void max_rows(const float* tile, std::int64_t n_rows, std::int64_t columns, float* best) {
  for (std::int64_t r = 0; r < n_rows; ++r) {
    for (std::int64_t j = 0; j < columns; ++j) best[j] = maximum(tile[r * columns + j], best[j]);
  }
}

void max_residual_rows(const float* tile, std::int64_t n_rows, const float* scores,
                       std::int64_t n_queries, const std::uint32_t* codes,
                       const float* inverse_norms, float* best) {
  const std::int64_t columns = (n_queries + kLanes - 1) / kLanes * kLanes;
  for (std::int64_t r = 0; r < n_rows; ++r) {
    const float* row = scores + codes[r] * n_queries;
    for (std::int64_t j = 0; j < n_queries; ++j) {
      best[j] = maximum((row[j] + tile[r * columns + j]) * inverse_norms[r], best[j]);
    }
  }
}

void max_gathered_rows(const float* scores, std::int64_t n_queries, const std::uint32_t* codes,
                       std::int64_t n_codes, float* best) {
  for (std::int64_t i = 0; i < n_codes; ++i) {
    const float* row = scores + codes[i] * n_queries;
    for (std::int64_t j = 0; j < n_queries; ++j) best[j] = maximum(row[j], best[j]);
  }
}

void row_maxima(const float* scores, std::int64_t n_rows, std::int64_t n_queries, float* maxima) {
  for (std::int64_t r = 0; r < n_rows; ++r) {
    float best = -std::numeric_limits<float>::infinity();
    for (std::int64_t j = 0; j < n_queries; ++j) best = maximum(scores[r * n_queries + j], best);
    maxima[r] = best;
  }
}

void argmax_rows(const float* tile, std::int64_t n_rows, std::int64_t columns,
                 std::uint32_t first_row, float* best, std::uint32_t* numbers) {
  for (std::int64_t r = 0; r < n_rows; ++r) {
    const auto number = static_cast<std::uint32_t>(first_row + r);
    for (std::int64_t j = 0; j < columns; ++j) {
      const bool better = tile[r * columns + j] > best[j];
      best[j] = better ? tile[r * columns + j] : best[j];
      numbers[j] = better ? number : numbers[j];
    }
  }
}

std::int64_t find_row_above(const float* scores, std::int64_t begin, std::int64_t end,
                            std::int64_t n_queries, const float* limits) {
  for (std::int64_t r = begin; r < end; ++r) {
    bool above = false;
    for (std::int64_t j = 0; j < n_queries; ++j) above |= !(scores[r * n_queries + j] <= limits[j]);
    if (above) return r;
  }
  return end;
}

// The exponent's bias differs by 112, and a multiplication mends that for subnormal halves too;
// infinity and NaN get their exponent by hand.
float half_to_float(std::uint16_t half) {
  const std::uint32_t magnitude = (half & 0x7FFFU) << 13;
  const float scaled = std::bit_cast<float>(magnitude) * 0x1p112F;
  const auto finite = std::bit_cast<std::uint32_t>(scaled);
  const std::uint32_t bits = (half & 0x7FFFU) < 0x7C00U ? finite : magnitude | 0x7F800000U;
  return std::bit_cast<float>(bits | (half & 0x8000U) << 16);
}

void halves_to_floats(const std::uint16_t* halves, std::int64_t n, float* floats) {
  for (std::int64_t i = 0; i < n; ++i) floats[i] = half_to_float(halves[i]);
}

void look_up_weights(const std::uint8_t* packed, std::int64_t n_rows, std::int64_t dim, int bits,
                     const float* weights, float* out) {
  const std::int64_t row_bytes = (dim * bits + 7) / 8;
  const unsigned mask = (1U << bits) - 1;
  for (std::int64_t r = 0; r < n_rows; ++r) {
    for (std::int64_t d = 0; d < dim; ++d) {
      const std::int64_t bit = d * bits;
      out[r * dim + d] = weights[(packed[r * row_bytes + bit / 8] >> (bit % 8)) & mask];
    }
  }
}

void add_centroid(const float* centroid, float inverse_norm, std::int64_t dim, float* row) {
  for (std::int64_t d = 0; d < dim; ++d) row[d] = (centroid[d] + row[d]) * inverse_norm;
}

void bucketize(const float* values, const float* centroid, std::int64_t dim, const float* cutoffs,
               std::int64_t n_cutoffs, std::uint8_t* buckets) {
  for (std::int64_t d = 0; d < dim; ++d) {
    const float residual = values[d] - centroid[d];
    std::int64_t reached = 0;
    for (std::int64_t step = (n_cutoffs + 1) / 2; step > 0; step /= 2) {
      reached += cutoffs[reached + step - 1] <= residual ? step : 0;
    }
    buckets[d] = static_cast<std::uint8_t>(reached);
  }
}

}  // namespace

const Primitives kBaseline = {
    .name = "baseline",
    .lanes = kLanes,
    .dot = dot,
    .max_rows = max_rows,
    .max_residual_rows = max_residual_rows,
    .max_gathered_rows = max_gathered_rows,
    .row_maxima = row_maxima,
    .argmax_rows = argmax_rows,
    .find_row_above = find_row_above,
    .halves_to_floats = halves_to_floats,
    .look_up_weights = look_up_weights,
    .add_centroid = add_centroid,
    .bucketize = bucketize,
    .query_levels = kQueryLevels,
    .dot_bytes = dot_bytes,
    .best_keys = best_keys,
    .scores_to_bytes = scores_to_bytes,
    .collect_bytes = collect_bytes,
    .add_gains = add_gains,
    .collect_words = collect_words,
    .interact_bytes = interact_bytes,
    .look_up_bytes = look_up_bytes,
    .max_residual_bytes = max_residual_bytes,
    .crc32c = baseline_crc32c,
};

}  // namespace weft::cpu
