// The arithmetic of the search in bytes, one number at a time: rounding, scores, keys, layouts.
#pragma once

#include "weft/device/hd.h"

namespace weft::device {

inline constexpr int kQueryLevels = 127;  // a query vector is multiples of its step within these
inline constexpr int kGroup = 32;         // columns that are worked on together
inline constexpr int kTileRows = 8;       // rows of a tile
inline constexpr int kTileBytes = 32;     // components of a tile

// value = low + scale * byte
struct Scale {
  float scale;
  float low;
};

// Rows of bytes as tensor cores take them: tiles of 8 rows by 32 components, each 256 bytes in a
// row, so that 32 lanes read a tile with 8 bytes each. `steps` tiles hold a row.
WEFT_HD std::int64_t tile_place(std::int64_t row, std::int64_t component, std::int64_t steps) {
  const std::int64_t tile = row / kTileRows * steps + component / kTileBytes;
  return (tile * kTileRows + row % kTileRows) * kTileBytes + component % kTileBytes;
}

// Where query vector j stands among the rows of tiles: so that the eight columns whose products a
// lane gets from four multiplications are neighbours in the table of scores.
WEFT_HD std::int64_t tile_row_of(std::int64_t j) {
  return j / kGroup * kGroup + j % 8 / 2 * 8 + j % kGroup / 8 * 2 + j % 2;
}

// A component as steps; adding 1.5 * 2^23 rounds a small number to a whole one, half to even.
WEFT_HD std::int32_t steps_of(float component, float inverse_step) {
  constexpr float kRounder = 12582912.0F;
  const float place = component * inverse_step + kRounder;
  return static_cast<std::int32_t>(bits_of(place)) -
         static_cast<std::int32_t>(bits_of(kRounder));
}

// NaN becomes 0.
WEFT_HD std::uint8_t nearest_byte(float value) {
  const float bounded = value > 0 ? (value < 255 ? value : 255) : 0;
  return static_cast<std::uint8_t>(nearest(bounded));
}

// What makes a byte of a sum of products for one column.
struct ByteScale {
  float scale;
  float low;
  float offset;
};

WEFT_HD std::uint8_t score_byte(std::int32_t products, const ByteScale& column, const Scale& row) {
  const float product = static_cast<float>(products) * column.scale;
  const float base = column.low * row.low + column.offset;
  return nearest_byte(product * row.scale + base);
}

// What a passage gains by a probed list, at most 255; `worst` is the worst probed byte.
WEFT_HD std::uint32_t gain_of(std::uint32_t byte, std::uint32_t worst) {
  return least<std::uint32_t>(byte - worst + 1, 255);
}

// A probe: the best byte comes first, then the lower number.
inline constexpr int kProbeBits = 40;
WEFT_HD std::uint64_t probe_key(std::uint32_t byte, std::uint32_t centroid) {
  return static_cast<std::uint64_t>(255U - byte) << 32 | centroid;
}
WEFT_HD std::uint32_t probe_byte(std::uint64_t key) {
  return 255U - static_cast<std::uint32_t>(key >> 32 & 255U);
}

// A passage and its score: the best comes first, then the lower place; both zeros are one.
WEFT_HD std::uint64_t score_key(float score, std::uint32_t place) {
  const std::uint32_t bits = bits_of(score + 0.0F);
  const std::uint32_t ascending = bits >> 31 != 0 ? ~bits : bits | 0x80000000U;
  return static_cast<std::uint64_t>(~ascending) << 32 | place;
}
WEFT_HD float key_score(std::uint64_t key) {
  const std::uint32_t ascending = ~static_cast<std::uint32_t>(key >> 32);
  return float_of(ascending >> 31 != 0 ? ascending & 0x7FFFFFFFU : ~ascending);
}

inline constexpr float kNoMatch = -INFINITY;

// The code of a component in a packed row.
WEFT_HD std::uint32_t code_at(const std::uint8_t* packed, std::int64_t component, int bits) {
  const std::int64_t bit = component * bits;
  return packed[bit / 8] >> (bit % 8) & ((1U << bits) - 1U);
}

// The bucket of a residual: how many ascending cutoffs it reaches; there are 2^bits - 1.
WEFT_HD std::uint32_t bucket_of(float residual, const float* cutoffs, int bits) {
  std::uint32_t bucket = 0;
  for (std::uint32_t half = 1U << (bits - 1); half > 0; half /= 2) {
    if (cutoffs[bucket + half - 1] <= residual) bucket += half;
  }
  return bucket;
}

// The byte nearest to an inverse norm within [low, high].
WEFT_HD std::uint8_t inverse_norm_byte(double inverse_norm, double low, double high) {
  const double width = high - low;
  if (width <= 0) return 0;
  const double place = nearest((inverse_norm - low) / width * 255.0);
  return static_cast<std::uint8_t>(place > 0 ? (place < 255 ? place : 255) : 0);
}

// bfloat16 of a finite number, half to even, and back.
WEFT_HD std::uint16_t bfloat_of(float value) {
  const std::uint32_t bits = bits_of(value);
  return static_cast<std::uint16_t>((bits + 0x7FFFU + (bits >> 16 & 1U)) >> 16);
}
WEFT_HD float bfloat_value(std::uint16_t bits) {
  return float_of(static_cast<std::uint32_t>(bits) << 16);
}

// IEEE binary16 to float32.
WEFT_HD float half_value(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000U) << 16;
  const std::uint32_t exponent = half >> 10 & 31U;
  const std::uint32_t fraction = half & 1023U;
  if (exponent == 31) return float_of(sign | 0x7F800000U | fraction << 13);
  if (exponent != 0) return float_of(sign | (exponent + 112) << 23 | fraction << 13);
  const float tiny = static_cast<float>(fraction) * 5.9604644775390625e-8F;
  return sign != 0 ? -tiny : tiny;
}

}  // namespace weft::device
