// One byte per token for 1 / |centroid + weights|.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>

#include "weft/arrays.h"

namespace weft::cpu {

// What each byte stands for.
inline std::array<float, 256> inverse_norm_values(const Buckets& buckets) {
  std::array<float, 256> values{};
  const double step = (buckets.inverse_norm_high - buckets.inverse_norm_low) / 255.0;
  for (int byte = 0; byte < 256; ++byte) {
    values[static_cast<std::size_t>(byte)] =
        static_cast<float>(buckets.inverse_norm_low + byte * step);
  }
  return values;
}

// The byte nearest to an inverse norm; halves go to the even byte.
inline std::uint8_t inverse_norm_byte(double inverse_norm, const Buckets& buckets) {
  const double width = buckets.inverse_norm_high - buckets.inverse_norm_low;
  if (width <= 0) return 0;
  const double place = (inverse_norm - buckets.inverse_norm_low) / width * 255.0;
  return static_cast<std::uint8_t>(std::clamp(std::nearbyint(place), 0.0, 255.0));
}

}  // namespace weft::cpu
