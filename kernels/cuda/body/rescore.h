// MaxSim on residuals in bytes: codes are unpacked through a table on the way to tensor cores, and
// the centroid's score is added instead of the centroid.
#pragma once

#include "cuda/body/centroid_scores.h"

namespace weft::device {

inline constexpr int kTileTokens = 64;       // of a passage at a time
inline constexpr int kChunkComponents = 128;  // at a time

// A block per kept passage, 32 columns and query. Its four warps take 16 tokens each. Residuals
// are read once and in whole words, so that they may lie in the host's memory.
template <int kBits>
struct Rescore {
  static constexpr int kThreads = 128;
  static constexpr int kBlocksPerProcessor = 4;
  static constexpr int kChunkBytes = kChunkComponents * kBits / 8;
  struct Shared {
    std::uint64_t weights[256];
    alignas(16) std::uint8_t packed[kTileTokens][kChunkBytes];
    float maxima[kThreads / 32][kGroup];
  };
  struct Products {
    std::int32_t of[4][4];
  };
  struct Maxima {
    float of[8];
  };
  struct Rows {
    std::uint32_t of[4];
  };
  struct Vectors {
    std::uint32_t of[4][2];
  };
  SearchView view;

  template <typename Block>
  WEFT_BODY void operator()(Block& block, Shared& shared) const {
    const std::uint32_t i = block.x();
    const std::uint32_t group = block.y();
    const std::uint32_t q = block.z();
    if (i >= view.n_kept[q]) return;
    const Tokens tokens = tokens_of(view, view.kept[std::int64_t{q} * view.n_rescored + i]);
    typename Block::template PerThread<Products> products;
    typename Block::template PerThread<Maxima> maxima;
    typename Block::template PerThread<Rows> rows;
    typename Block::template PerThread<Vectors> vectors;
    block.threads([&](int t) {
      for (int byte = t; byte < 256; byte += kThreads) {
        shared.weights[byte] = view.codec.weight_bytes[byte];
      }
      WEFT_UNROLL for (int c = 0; c < 8; ++c) maxima[t].of[c] = kNoMatch;
    });
    for (std::int64_t token = tokens.begin; token < tokens.end; token += kTileTokens) {
      const int n = static_cast<int>(least<std::int64_t>(tokens.end - token, kTileTokens));
      block.threads([&](int t) {
        WEFT_UNROLL for (int c = 0; c < 4; ++c) {
          WEFT_UNROLL for (int k = 0; k < 4; ++k) products[t].of[c][k] = 0;
        }
      });
      for (std::uint32_t first = 0; first < view.codec.dim; first += kChunkComponents) {
        stage(block, shared, *tokens.segment, token, n, first * kBits / 8);
        block.warps([&](auto& warp) {
          multiply(warp, shared, q, group, first, products, rows, vectors);
        });
      }
      block.threads([&](int t) {
        raise(products[t], tokens, token, n, t, q, group, maxima[t]);
      });
    }
    reduce(block, shared, maxima, i, q, group);
  }

 private:
  // Packed rows of a tile, from byte `first` of each; zeros beyond a row and beyond the passage.
  template <typename Block>
  WEFT_BODY void stage(Block& block, Shared& shared, const SegmentView& segment,
                       std::int64_t token, int n, std::uint32_t first) const {
    const std::uint32_t width = view.codec.packed_bytes;
    const std::uint8_t* rows = segment.residuals + token * width + first;
    block.threads([&](int t) {
      if (width % 4 == 0) {  // rows begin at multiples of four
        for (int word = t; word < kTileTokens * kChunkBytes / 4; word += kThreads) {
          const int row = word * 4 / kChunkBytes;
          const std::uint32_t byte = static_cast<std::uint32_t>(word * 4 % kChunkBytes);
          const bool there = row < n && first + byte < width;
          reinterpret_cast<std::uint32_t*>(shared.packed)[word] =
              there ? *reinterpret_cast<const std::uint32_t*>(
                          rows + static_cast<std::int64_t>(row) * width + byte)
                    : 0;
        }
        return;
      }
      for (int place = t; place < kTileTokens * kChunkBytes; place += kThreads) {
        const int row = place / kChunkBytes;
        const std::uint32_t byte = static_cast<std::uint32_t>(place % kChunkBytes);
        const bool there = row < n && first + byte < width;
        shared.packed[row][byte] = there ? rows[static_cast<std::int64_t>(row) * width + byte] : 0;
      }
    });
  }

  // The weights of eight components, as bytes.
  static WEFT_BODY Word2 unpack(const Shared& shared, const std::uint8_t* packed) {
    std::uint64_t bytes = 0;
    WEFT_UNROLL for (int i = 0; i < kBits; ++i) {
      bytes |= shared.weights[packed[i]] << i * (64 / kBits);
    }
    return {static_cast<std::uint32_t>(bytes), static_cast<std::uint32_t>(bytes >> 32)};
  }

  template <typename Warp, typename P, typename R, typename V>
  WEFT_BODY void multiply(Warp& warp, const Shared& shared, std::uint32_t q, std::uint32_t group,
                          std::uint32_t first, P& products, R& rows, V& vectors) const {
    const std::uint32_t steps = view.codec.steps;
    WEFT_UNROLL for (int s = 0; s < kChunkComponents / kTileBytes; ++s) {
      const std::uint32_t step = first / kTileBytes + s;
      if (step >= steps) break;
      warp.lanes([&](int t) {
        const int lane = t % 32;
        const int place = (s * 4 + lane % 4) * kBits;
        WEFT_UNROLL for (int half = 0; half < 2; ++half) {
          const Word2 words =
              unpack(shared, &shared.packed[t / 32 * 16 + half * 8 + lane / 4][place]);
          rows[t].of[half] = words.x;
          rows[t].of[half + 2] = words.y;
        }
        const std::int64_t column = std::int64_t{q} * view.columns + group * kGroup;
        WEFT_UNROLL for (int n = 0; n < 4; ++n) {
          const Word2 words = load_8(
              view.query_tiles +
              tile_place(column + n * kTileRows, std::int64_t{step} * kTileBytes, steps) +
              lane * 8);
          vectors[t].of[n][0] = words.x;
          vectors[t].of[n][1] = words.y;
        }
      });
      WEFT_UNROLL for (int n = 0; n < 4; ++n) {
        warp.multiply_bytes([&](int t) { return products[t].of[n]; },
                            [&](int t) { return rows[t].of; },
                            [&](int t) { return vectors[t].of[n]; });
      }
    }
  }

  // Scores of a lane's eight columns and two tokens.
  WEFT_BODY void raise(const Products& products, const Tokens& tokens, std::int64_t token, int n,
                       int t, std::uint32_t q, std::uint32_t group, Maxima& maxima) const {
    const int lane = t % 32;
    const std::uint32_t column = group * kGroup + lane % 4 * 8;
    const Scale* scales = view.residual_scales + std::int64_t{q} * view.columns + column;
    const float step = view.step(q);
    const Scale norms = view.codec.inverse_norm_scale;
    WEFT_UNROLL for (int half = 0; half < 2; ++half) {
      const int row = t / 32 * 16 + half * 8 + lane / 4;
      if (row >= n) continue;
      const std::int64_t place = token + row;
      const Word2 bytes = load_8(view.table_row(q, tokens.segment->code(place)) + column);
      const float norm =
          norms.low + norms.scale * static_cast<float>(tokens.segment->inverse_norms[place]);
      WEFT_UNROLL for (int c = 0; c < 8; ++c) {
        const std::uint32_t byte = (c < 4 ? bytes.x : bytes.y) >> c % 4 * 8 & 255U;
        const float residual =
            static_cast<float>(products.of[c / 2][half * 2 + c % 2]) * scales[c].scale +
            scales[c].low;
        const float score = (static_cast<float>(byte) * step + residual) * norm;
        maxima.of[c] = score > maxima.of[c] ? score : maxima.of[c];
      }
    }
  }

  template <typename Block, typename M>
  WEFT_BODY void reduce(Block& block, Shared& shared, M& maxima, std::uint32_t i,
                        std::uint32_t q, std::uint32_t group) const {
    block.warps([&](auto& warp) {
      WEFT_UNROLL for (int mask = 4; mask < 32; mask *= 2) {
        WEFT_UNROLL for (int c = 0; c < 8; ++c) {
          warp.template exchange<float>(
              mask, [&](int t) -> float& { return maxima[t].of[c]; },
              [](float a, float b) { return a < b ? b : a; });
        }
      }
      warp.lanes([&](int t) {
        if (t % 32 >= 4) return;
        WEFT_UNROLL for (int c = 0; c < 8; ++c) {
          shared.maxima[t / 32][t % 4 * 8 + c] = maxima[t].of[c];
        }
      });
    });
    block.threads([&](int t) {
      if (t >= kGroup) return;
      float best = shared.maxima[0][t];
      for (int w = 1; w < kThreads / 32; ++w) best = greatest(best, shared.maxima[w][t]);
      const std::int64_t row = std::int64_t{q} * view.n_rescored + i;
      view.maxima[row * view.columns + group * kGroup + t] = best;
    });
  }
};

}  // namespace weft::device
