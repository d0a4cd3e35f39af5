// A search for NaN and infinity.
#pragma once

#include <bit>
#include <cstdint>

namespace weft::cpu {

inline bool all_finite(const float* values, std::int64_t n) {
  constexpr std::uint32_t kExponent = 0x7F800000;
  std::uint32_t bad = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    bad |= (std::bit_cast<std::uint32_t>(values[i]) & kExponent) == kExponent ? 1U : 0U;
  }
  return bad == 0;
}

}  // namespace weft::cpu
