// Views of arrays that the caller owns. All are C-contiguous and read only; the length of each
// view has been established by whoever made it, its contents have not been looked at.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace weft {

inline constexpr std::int64_t kMaxDim = 4096;
inline constexpr std::int64_t kMaxColumns = std::int64_t{1} << 20;  // of scores
inline constexpr int kMaxThreads = 256;

// Rows of equal length, one after the other.
template <typename T>
struct Matrix {
  const T* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t columns = 0;

  const T* row(std::int64_t i) const { return data + i * columns; }
};

// Embeddings as float32, or as the bits of IEEE binary16.
struct Embeddings {
  const float* floats = nullptr;          // one of the two is set
  const std::uint16_t* halves = nullptr;
  std::int64_t rows = 0;
  std::int64_t dim = 0;
};

// Codes as uint16 or uint32.
struct Codes {
  const std::uint16_t* narrow = nullptr;  // one of the two is set
  const std::uint32_t* wide = nullptr;
  std::int64_t size = 0;

  std::uint32_t operator[](std::int64_t i) const { return narrow != nullptr ? narrow[i] : wide[i]; }
};

// Which rows belong to which passage, and which passages are asked for.
struct Passages {
  std::span<const std::int64_t> offsets;  // [P + 1], at least one
  const std::uint32_t* pids = nullptr;    // nullptr: all passages in order
  std::int64_t n_pids = 0;

  std::int64_t count() const {
    return pids != nullptr ? n_pids : static_cast<std::int64_t>(offsets.size()) - 1;
  }
};

// The scalar codebook of the residuals.
struct Buckets {
  std::span<const float> weights;  // [2^bits], finite
  int bits = 0;                    // 1, 2, 4 or 8
  double inverse_norm_low = 0;     // what byte 0 of an inverse norm stands for
  double inverse_norm_high = 0;    // what byte 255 stands for
};

// Tokens as a coded segment holds them.
struct CodedTokens {
  Codes codes;                                // [n]
  Matrix<std::uint8_t> residuals;             // [n, ceil(dim * bits / 8)]
  std::span<const std::uint8_t> inverse_norms;  // [n]
};

}  // namespace weft
