// What the kernels over passages share: visiting them, and adding up their maxima.
#pragma once

#include <algorithm>
#include <limits>
#include <string>

#include "weft/arrays.h"
#include "weft/status.h"

namespace weft::cpu {

// The rows of one passage.
struct Rows {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

// The rows of the i-th visited passage. Invalid value: its pid or its offsets are out of range.
inline Status visit(const Passages& passages, std::int64_t i, std::int64_t n_rows, Rows* rows) {
  const auto n_passages = static_cast<std::int64_t>(passages.offsets.size()) - 1;
  const std::int64_t pid = passages.pids != nullptr ? passages.pids[i] : i;
  if (pid >= n_passages) {
    return Status::invalid_value("pids: " + std::to_string(pid) + " is not below " +
                                 std::to_string(n_passages));
  }
  rows->begin = passages.offsets[static_cast<std::size_t>(pid)];
  rows->end = passages.offsets[static_cast<std::size_t>(pid) + 1];
  if (0 <= rows->begin && rows->begin <= rows->end && rows->end <= n_rows) return {};
  return Status::invalid_value("offsets: passage " + std::to_string(pid) + " is [" +
                               std::to_string(rows->begin) + ", " + std::to_string(rows->end) +
                               ") of " + std::to_string(n_rows) + " rows");
}

// Copies n codes; the highest of them. Loops of one type each, which compilers make vectors of.
template <typename Code>
std::uint32_t widen_codes(const Code* codes, std::int64_t n, std::uint32_t* copy) {
  Code highest = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const Code code = codes[i];
    copy[i] = code;
    highest = std::max(highest, code);
  }
  return highest;
}

// Copies codes, so that what has been checked is what is used even if the caller writes meanwhile.
inline Status read_codes(const Codes& codes, Rows rows, std::int64_t n_centroids,
                         std::uint32_t* copy) {
  const std::int64_t n = rows.end - rows.begin;
  const std::uint32_t highest = codes.narrow != nullptr
                                    ? widen_codes(codes.narrow + rows.begin, n, copy)
                                    : widen_codes(codes.wide + rows.begin, n, copy);
  if (n == 0 || highest < n_centroids) return {};
  return Status::invalid_value("codes: " + std::to_string(highest) + " is not below " +
                               std::to_string(n_centroids));
}

inline void forget_maxima(float* best, std::int64_t columns) {
  std::fill_n(best, columns, -std::numeric_limits<float>::infinity());
}

// In float64 and in a fixed order, so that only the maxima may differ between targets.
inline float sum_of_maxima(const float* best, std::int64_t n_queries) {
  double sums[4] = {};
  std::int64_t j = 0;
  for (; j + 4 <= n_queries; j += 4) {
    for (std::int64_t lane = 0; lane < 4; ++lane) sums[lane] += best[j + lane];
  }
  for (; j < n_queries; ++j) sums[0] += best[j];
  return static_cast<float>((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

}  // namespace weft::cpu
