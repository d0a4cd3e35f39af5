// The end of a search: sums of maxima, the order, and the best once more in float32.
#pragma once

#include "cuda/body/select.h"

namespace weft::device {

// A block per query: kSharpen false: all kept passages by their scores in bytes, best first.
// kSharpen true: the first n_exact by their scores in float32, the others by those they have.
template <bool kSharpen>
struct Rank {
  static constexpr int kThreads = 512;
  static constexpr int kBlocksPerProcessor = 1;
  static constexpr std::uint32_t kHere = 2048;  // keys that are sorted in shared memory
  struct Shared {
    std::uint64_t keys[kHere];
  };
  SearchView view;

  template <typename Block>
  WEFT_BODY void operator()(Block& block, Shared& shared) const {
    const std::uint32_t q = block.x();
    const std::uint32_t n = view.n_kept[q];
    const std::uint32_t capacity = view.rank_capacity;
    std::uint64_t* ranked = view.ranked + std::int64_t{q} * capacity;
    std::uint64_t* keys = capacity <= kHere ? shared.keys : ranked;
    block.threads([&](int t) {
      for (std::uint32_t i = t; i < capacity; i += kThreads) {
        std::uint64_t key = kNoKey;
        if (kSharpen && i < n) key = ranked[i];
        if (i < (kSharpen ? least(n, view.n_exact) : n)) key = score(q, i, ranked);
        keys[i] = key;
      }
      if (t == 0) view.outcomes[q].n_found = n;
    });
    sort_keys(block, keys, capacity);
    if (capacity > kHere) return;
    block.threads([&](int t) {
      for (std::uint32_t i = t; i < n; i += kThreads) ranked[i] = keys[i];
    });
  }

 private:
  WEFT_BODY std::uint64_t score(std::uint32_t q, std::uint32_t i,
                                const std::uint64_t* ranked) const {
    const std::int64_t rows = kSharpen ? view.n_exact : view.n_rescored;
    const float* maxima =
        (kSharpen ? view.exact_maxima : view.maxima) + (q * rows + i) * view.columns;
    double sum = 0;
    for (std::uint32_t j = 0; j < view.n_vectors[q]; ++j) sum += static_cast<double>(maxima[j]);
    const float score = static_cast<float>(sum);
    if (score != score) view.outcomes[q].not_a_number = 1;
    const std::uint32_t place = kSharpen ? static_cast<std::uint32_t>(ranked[i])
                                         : view.kept[std::int64_t{q} * view.n_rescored + i];
    return score_key(score, place);
  }
};

// A block per passage at the head of the order, 32 columns and query: MaxSim in float32 on
// reconstructed vectors. Products are added up in the order of the components.
struct ScoreExactly {
  static constexpr int kThreads = 256;
  static constexpr int kBlocksPerProcessor = 1;
  static constexpr int kTokens = 16;      // at a time, two for each warp
  static constexpr int kComponents = 64;  // at a time
  struct Shared {
    float rows[kTokens][kComponents];
    float vectors[kComponents][kGroup + 1];
    float maxima[kThreads / 32][kGroup];
  };
  struct Sums {
    float of[2];
  };
  SearchView view;

  template <typename Block>
  WEFT_BODY void operator()(Block& block, Shared& shared) const {
    const std::uint32_t i = block.x();
    const std::uint32_t group = block.y();
    const std::uint32_t q = block.z();
    if (i >= view.n_kept[q]) return;
    const std::uint64_t key = view.ranked[std::int64_t{q} * view.rank_capacity + i];
    const Tokens tokens = tokens_of(view, static_cast<std::uint32_t>(key));
    typename Block::template PerThread<Sums> sums;
    typename Block::template PerThread<float> best;
    block.threads([&](int t) { best[t] = kNoMatch; });
    for (std::int64_t token = tokens.begin; token < tokens.end; token += kTokens) {
      const int n = static_cast<int>(least<std::int64_t>(tokens.end - token, kTokens));
      block.threads([&](int t) { sums[t].of[0] = sums[t].of[1] = 0; });
      for (std::uint32_t first = 0; first < view.codec.dim; first += kComponents) {
        const int width = static_cast<int>(least<std::uint32_t>(view.codec.dim - first, kComponents));
        block.threads([&](int t) {
          restore(shared, t, *tokens.segment, token, n, first, width);
          take_query(shared, t, q, group, first, width);
        });
        block.threads([&](int t) {
          for (int d = 0; d < width; ++d) {
            const float component = shared.vectors[d][t % 32];
            WEFT_UNROLL for (int r = 0; r < 2; ++r) {
              sums[t].of[r] = fused(shared.rows[t / 32 * 2 + r][d], component, sums[t].of[r]);
            }
          }
        });
      }
      block.threads([&](int t) {
        WEFT_UNROLL for (int r = 0; r < 2; ++r) {
          if (t / 32 * 2 + r < n && sums[t].of[r] > best[t]) best[t] = sums[t].of[r];
        }
      });
    }
    block.threads([&](int t) { shared.maxima[t / 32][t % 32] = best[t]; });
    block.threads([&](int t) {
      if (t >= kGroup) return;
      float most = shared.maxima[0][t];
      for (int w = 1; w < kThreads / 32; ++w) most = greatest(most, shared.maxima[w][t]);
      const std::int64_t row = std::int64_t{q} * view.n_exact + i;
      view.exact_maxima[row * view.columns + group * kGroup + t] = most;
    });
  }

 private:
  WEFT_BODY void restore(Shared& shared, int t, const SegmentView& segment, std::int64_t token,
                         int n, std::uint32_t first, int width) const {
    const Scale norms = view.codec.inverse_norm_scale;
    for (int place = t; place < kTokens * kComponents; place += kThreads) {
      const int row = place / kComponents;
      const int d = place % kComponents;
      if (row >= n || d >= width) continue;
      const std::int64_t here = token + row;
      const std::uint8_t* packed = segment.residuals + here * view.codec.packed_bytes;
      const float weight = view.codec.weights[code_at(packed, first + d, view.codec.bits)];
      const float* centroid =
          view.codec.centroids + static_cast<std::int64_t>(segment.code(here)) * view.codec.dim;
      const float norm = norms.low + norms.scale * static_cast<float>(segment.inverse_norms[here]);
      shared.rows[row][d] = (centroid[first + d] + weight) * norm;
    }
  }

  WEFT_BODY void take_query(Shared& shared, int t, std::uint32_t q, std::uint32_t group,
                            std::uint32_t first, int width) const {
    for (int place = t; place < kGroup * kComponents; place += kThreads) {
      const int j = place / kComponents;
      const int d = place % kComponents;
      if (d >= width) continue;
      const std::uint32_t column = group * kGroup + j;
      const float* row =
          view.query + (std::int64_t{q} * view.columns + column) * view.codec.dim + first;
      shared.vectors[d][j] = column < view.n_vectors[q] ? row[d] : 0.0F;
    }
  }
};

}  // namespace weft::device
