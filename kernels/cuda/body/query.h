// From query vectors to bytes: steps, the range of scores that bytes stand for, limits of hits.
#pragma once

#include "cuda/body/views.h"

namespace weft::device {

inline constexpr std::uint32_t kFitRows = 512;     // centroids that the range of scores is from
inline constexpr std::uint32_t kLimitRows = 4096;  // centroids that limits are from

// A block per column and query: the vector as steps in tiles, their sum, its norm.
struct QuantizeQuery {
  static constexpr int kThreads = 128;
  static constexpr int kBlocksPerProcessor = 1;
  struct Shared {
    float largest[kThreads];
    std::int32_t sums[kThreads];
    double squares[kThreads];
  };
  SearchView view;

  template <typename Block>
  WEFT_BODY void operator()(Block& block, Shared& shared) const {
    const std::uint32_t j = block.x();
    const std::uint32_t q = block.y();
    const std::int64_t column = std::int64_t{q} * view.columns + j;
    const std::uint32_t dim = j < view.n_vectors[q] ? view.codec.dim : 0;  // 0: all zero
    const float* row = view.query + column * view.codec.dim;
    block.threads([&](int t) {
      float largest = 0;
      for (std::uint32_t d = t; d < dim; d += kThreads) {
        largest = greatest(largest, row[d] < 0 ? -row[d] : row[d]);
      }
      shared.largest[t] = largest;
    });
    for (int half = kThreads / 2; half > 0; half /= 2) {
      block.threads([&](int t) {
        if (t < half) shared.largest[t] = greatest(shared.largest[t], shared.largest[t + half]);
      });
    }
    const float largest = shared.largest[0];
    const float inverse = static_cast<float>(kQueryLevels) / largest;
    const bool usable = is_finite(inverse);
    std::int8_t* tiles = view.query_tiles + q * view.query_tile_bytes();
    const std::int64_t tile_row = tile_row_of(j);
    block.threads([&](int t) {
      std::int32_t sum = 0;
      double square = 0;
      for (std::uint32_t d = t; d < view.codec.steps * kTileBytes; d += kThreads) {
        const float component = usable && d < dim ? row[d] : 0.0F;
        const std::int32_t steps = usable ? steps_of(component, inverse) : 0;
        tiles[tile_place(tile_row, d, view.codec.steps)] = static_cast<std::int8_t>(steps);
        sum += steps;
        square += static_cast<double>(component) * component;
      }
      shared.sums[t] = sum;
      shared.squares[t] = square;
    });
    for (int half = kThreads / 2; half > 0; half /= 2) {
      block.threads([&](int t) {
        if (t >= half) return;
        shared.sums[t] += shared.sums[t + half];
        shared.squares[t] += shared.squares[t + half];
      });
    }
    block.threads([&](int t) {
      if (t > 0) return;
      const float step = usable ? largest / static_cast<float>(kQueryLevels) : 0.0F;
      view.query_scales[column] = step;
      view.query_sums[column] = step * static_cast<float>(shared.sums[0]);
      view.query_norms[column] = static_cast<float>(root(shared.squares[0]));
    });
  }
};

// The sum of the products of a centroid's bytes with a query vector's.
WEFT_HD std::int32_t byte_products(const SearchView& view, std::int64_t centroid, std::uint32_t q,
                                   std::uint32_t j) {
  const std::uint8_t* a = view.codec.centroid_tiles + tile_place(centroid, 0, view.codec.steps);
  const std::int8_t* b = view.query_tiles + q * view.query_tile_bytes() +
                         tile_place(tile_row_of(j), 0, view.codec.steps);
  std::int32_t sum = 0;
  for (std::uint32_t s = 0; s < view.codec.steps; ++s) {
    for (int word = 0; word < kTileBytes / 4; ++word) {
      sum = dot_of_bytes(reinterpret_cast<const std::uint32_t*>(a)[word],
                         reinterpret_cast<const std::uint32_t*>(b)[word], sum);
    }
    a += kTileRows * kTileBytes;
    b += kTileRows * kTileBytes;
  }
  return sum;
}

// The r-th of n centroids, evenly spaced.
WEFT_HD std::int64_t sampled_row(const SearchView& view, std::uint32_t r, std::uint32_t n) {
  return std::int64_t{r} * view.codec.n_centroids / n;
}

// A block per column and query: byte 0 stands for two standard deviations below the mean score.
// Sums are of shares of the greatest score, whose squares neither overflow nor vanish.
struct FitRange {
  static constexpr int kThreads = 256;
  static constexpr int kBlocksPerProcessor = 1;
  struct Shared {
    float sums[kThreads];
    float squares[kThreads];
  };
  SearchView view;

  template <typename Block>
  WEFT_BODY void operator()(Block& block, Shared& shared) const {
    const std::uint32_t j = block.x();
    const std::uint32_t q = block.y();
    const std::int64_t column = std::int64_t{q} * view.columns + j;
    const float highest = view.query_norms[column] * view.codec.longest;
    const bool usable = is_finite(1 / highest);
    const float scale = usable ? view.query_scales[column] * (1 / highest) : 0.0F;
    const float low = usable ? view.query_sums[column] * (1 / highest) : 0.0F;
    const std::uint32_t n_rows = least(view.codec.n_centroids, kFitRows);
    block.threads([&](int t) {
      float sum = 0;
      float square = 0;
      for (std::uint32_t r = t; r < n_rows; r += kThreads) {
        const std::int64_t row = sampled_row(view, r, n_rows);
        const Scale rows = view.codec.row_scales[row];
        const float score =
            static_cast<float>(byte_products(view, row, q, j)) * rows.scale * scale +
            low * rows.low;
        sum += score;
        square += score * score;
      }
      shared.sums[t] = sum;
      shared.squares[t] = square;
    });
    for (int half = kThreads / 2; half > 0; half /= 2) {
      block.threads([&](int t) {
        if (t >= half) return;
        shared.sums[t] += shared.sums[t + half];
        shared.squares[t] += shared.squares[t + half];
      });
    }
    block.threads([&](int t) {
      if (t > 0) return;
      const float share = 1 / static_cast<float>(n_rows);
      const float mean = shared.sums[0] * share;
      const float variance = shared.squares[0] * share - mean * mean;
      const float lowest = (mean - 2 * root(greatest(variance, 0.0F))) * highest;
      const bool counts = j < view.n_vectors[q];
      view.lowest[column] = counts ? lowest : 0.0F;
      // Bits of floats that are not negative are in the order of the floats.
      if (counts && highest > lowest) atomic_max(&view.widest[q], bits_of(highest - lowest));
    });
  }
};

// A block per column and query: the factors of the column, and a byte a bit below that which nprobe
// centroids are expected to reach.
struct FitLimits {
  static constexpr int kThreads = 256;
  static constexpr int kBlocksPerProcessor = 1;
  struct Shared {
    std::uint32_t counts[2][256];  // at place i, of byte 255 - i
    std::uint32_t limit;
  };
  SearchView view;

  template <typename Block>
  WEFT_BODY void operator()(Block& block, Shared& shared) const {
    const std::uint32_t j = block.x();
    const std::uint32_t q = block.y();
    const std::int64_t column = std::int64_t{q} * view.columns + j;
    const float inverse = 1 / view.step(q);
    const ByteScale scale{view.query_scales[column] * inverse, view.query_sums[column] * inverse,
                          -view.lowest[column] * inverse};
    const std::uint32_t n_rows = least(view.codec.n_centroids, kLimitRows);
    block.threads([&](int t) {
      shared.counts[0][t] = 0;
      if (t > 0) return;
      shared.limit = 0;
      const Scale weights = view.codec.weight_scale;
      view.byte_scales[column] = scale;
      view.residual_scales[column] = {view.query_scales[column] * weights.scale,
                                      view.lowest[column] + view.query_sums[column] * weights.low};
    });
    block.threads([&](int t) {
      for (std::uint32_t r = t; r < n_rows; r += kThreads) {
        const std::int64_t row = sampled_row(view, r, n_rows);
        const std::uint8_t byte =
            score_byte(byte_products(view, row, q, j), scale, view.codec.row_scales[row]);
        atomic_add(&shared.counts[0][255 - byte], 1);
      }
    });
    int from = 0;
    for (int step = 1; step < 256; step *= 2, from ^= 1) {
      block.threads([&](int t) {
        shared.counts[from ^ 1][t] =
            shared.counts[from][t] + (t >= step ? shared.counts[from][t - step] : 0);
      });
    }
    const float expected = static_cast<float>(view.nprobe) * static_cast<float>(n_rows) /
                           static_cast<float>(view.codec.n_centroids);
    const float most = expected + 2 * root(expected) + 3;
    block.threads([&](int t) {
      const bool passed = static_cast<float>(shared.counts[from][t]) >= most;
      const bool before = t > 0 && static_cast<float>(shared.counts[from][t - 1]) >= most;
      if (passed && !before && t < 255) shared.limit = static_cast<std::uint32_t>(254 - t);
    });
    block.threads([&](int t) {
      if (t > 0) return;
      const bool counts = j < view.n_vectors[q];
      view.limits[column] = static_cast<std::uint8_t>(counts ? shared.limit : 255);
    });
  }
};

}  // namespace weft::device
