// Residuals of the build: quantised and packed in one pass; and the step of k-means.
#pragma once

#include "cuda/body/assign.h"

namespace weft::device {

// Four threads per embedding: the bucket of each component, packed, and the byte of the inverse
// norm, which is added up in float64 in the processor's order, so that bytes are the same.
struct Compress {
  static constexpr int kThreads = 128;
  static constexpr int kBlocksPerProcessor = 1;
  static constexpr int kRows = kThreads / 4;
  static constexpr int kComponents = 128;  // at a time; whole bytes
  struct Shared {
    double sums[kThreads];
    std::uint8_t buckets[kRows][kComponents];
  };
  RowsView rows;
  const float* centroids;
  std::uint32_t n_centroids;
  const std::uint32_t* codes;
  const float* cutoffs;
  const float* weights;
  int bits;
  double inverse_norm_low;
  double inverse_norm_high;
  std::uint8_t* residuals;
  std::uint8_t* inverse_norms;
  std::uint32_t* failed;  // becomes 1: an embedding is not finite; 3: a centroid is not

  template <typename Block>
  WEFT_BODY void operator()(Block& block, Shared& shared) const {
    typename Block::template PerThread<double> sum;
    block.threads([&](int t) { sum[t] = 0; });
    for (std::uint32_t first = 0; first < rows.dim; first += kComponents) {
      block.threads([&](int t) { sum[t] = quantise(block.x(), shared, t, first, sum[t]); });
      block.threads([&](int t) { pack(block.x(), shared, t, first); });
    }
    block.threads([&](int t) { shared.sums[t] = sum[t]; });
    block.threads([&](int t) {
      const std::int64_t row = std::int64_t{block.x()} * kRows + t;
      if (t >= kRows || row >= rows.n) return;
      const double* parts = &shared.sums[t * 4];
      const double norm = root((parts[0] + parts[1]) + (parts[2] + parts[3]));
      if (!(norm < static_cast<double>(INFINITY))) atomic_max(failed, 3);
      inverse_norms[row] = inverse_norm_byte(1.0 / norm, inverse_norm_low, inverse_norm_high);
    });
  }

 private:
  // What is left of whole fours is added up by the first thread.
  WEFT_BODY double quantise(std::uint32_t x, Shared& shared, int t, std::uint32_t first,
                            double sum) const {
    const std::int64_t row = std::int64_t{x} * kRows + t / 4;
    const std::uint32_t end = least(first + kComponents, rows.dim);
    const std::uint32_t fours = rows.dim / 4 * 4;
    for (std::uint32_t d = first + t % 4; d < first + kComponents; d += 4) {
      const bool there = row < rows.n && d < end;
      shared.buckets[t / 4][d - first] =
          there ? static_cast<std::uint8_t>(bucket_at(row, d)) : std::uint8_t{0};
      if (there && d < fours) sum += square_at(row, d);
    }
    if (t % 4 == 0 && row < rows.n && end == rows.dim) {
      for (std::uint32_t d = fours; d < end; ++d) sum += square_at(row, d);
    }
    return sum;
  }

  WEFT_BODY std::uint32_t bucket_at(std::int64_t row, std::uint32_t d) const {
    const float value = rows.at(row, d);
    if (!is_finite(value)) atomic_max(failed, 1);
    return bucket_of(value - centroid(row)[d], cutoffs, bits);
  }

  WEFT_BODY double square_at(std::int64_t row, std::uint32_t d) const {
    const float value = centroid(row)[d];
    const double restored = value + weights[bucket_of(rows.at(row, d) - value, cutoffs, bits)];
    return restored * restored;
  }

  WEFT_BODY const float* centroid(std::int64_t row) const {
    return centroids + std::int64_t{codes[row]} * rows.dim;
  }

  WEFT_BODY void pack(std::uint32_t x, const Shared& shared, int t, std::uint32_t first) const {
    const std::int64_t width = (std::int64_t{rows.dim} * bits + 7) / 8;
    const int per_byte = 8 / bits;
    const std::int64_t before = std::int64_t{first} * bits / 8;
    const int n_bytes = static_cast<int>(least<std::int64_t>(kComponents / per_byte, width - before));
    for (int i = t; i < kRows * n_bytes; i += kThreads) {
      const std::int64_t row = std::int64_t{x} * kRows + i / n_bytes;
      if (row >= rows.n) continue;
      std::uint32_t byte = 0;
      for (int c = 0; c < per_byte; ++c) {
        byte |= static_cast<std::uint32_t>(shared.buckets[i / n_bytes][i % n_bytes * per_byte + c])
                << c * bits;
      }
      residuals[row * width + before + i % n_bytes] = static_cast<std::uint8_t>(byte);
    }
  }
};

// Sums of components are whole numbers of this many steps, so that they come out the same in
// whatever order they are added up.
inline constexpr double kStepsPerUnit = 68719476736.0;  // 2^36: 2^26 embeddings of length 2 fit
inline constexpr float kLargestComponent = 2.0F;

// A warp per embedding: adds it to the sum of its centroid.
struct SumRows {
  static constexpr int kThreads = 128;
  static constexpr int kBlocksPerProcessor = 1;
  struct Shared {};
  RowsView rows;
  const std::uint32_t* codes;
  std::int64_t* sums;      // [K, dim]
  std::uint32_t* counts;   // [K]
  std::uint32_t* failed;   // becomes 4: a component is too large

  template <typename Block>
  WEFT_BODY void operator()(Block& block, Shared&) const {
    block.threads([&](int t) {
      const std::int64_t row = std::int64_t{block.x()} * (kThreads / 32) + t / 32;
      if (row >= rows.n) return;
      const std::uint32_t code = codes[row];
      if (t % 32 == 0) atomic_add(&counts[code], 1U);
      for (std::uint32_t d = t % 32; d < rows.dim; d += 32) {
        const float value = rows.at(row, d);
        if (!(value <= kLargestComponent && value >= -kLargestComponent)) {
          atomic_max(failed, 4);
          continue;
        }
        const double steps = nearest(static_cast<double>(value) * kStepsPerUnit);
        atomic_add(&sums[std::int64_t{code} * rows.dim + d], static_cast<std::int64_t>(steps));
      }
    });
  }
};

// A block per centroid: the direction of its sum; where there is none it stays as it is.
struct Recentre {
  static constexpr int kThreads = 128;
  static constexpr int kBlocksPerProcessor = 1;
  struct Shared {
    double squares[kThreads];
  };
  const std::int64_t* sums;
  float* centroids;
  std::uint32_t dim;

  template <typename Block>
  WEFT_BODY void operator()(Block& block, Shared& shared) const {
    const std::int64_t first = std::int64_t{block.x()} * dim;
    block.threads([&](int t) {
      double square = 0;
      for (std::uint32_t d = t; d < dim; d += kThreads) {
        const double value = static_cast<double>(sums[first + d]) / kStepsPerUnit;
        square += value * value;
      }
      shared.squares[t] = square;
    });
    for (int half = kThreads / 2; half > 0; half /= 2) {
      block.threads([&](int t) {
        if (t < half) shared.squares[t] += shared.squares[t + half];
      });
    }
    const double norm = root(shared.squares[0]);
    if (!(norm > 1e-12)) return;
    block.threads([&](int t) {
      for (std::uint32_t d = t; d < dim; d += kThreads) {
        const double value = static_cast<double>(sums[first + d]) / kStepsPerUnit;
        centroids[first + d] = static_cast<float>(value / norm);
      }
    });
  }
};

}  // namespace weft::device
