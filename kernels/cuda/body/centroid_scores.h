// Scores of all centroids as bytes: a product of matrices on tensor cores, whose epilogue writes
// the table and collects what is worth a probe.
#pragma once

#include "cuda/body/views.h"

namespace weft::device {

struct Word2 {
  std::uint32_t x;
  std::uint32_t y;
};

// Eight bytes at once, from or to an address that is a multiple of eight.
WEFT_HD Word2 load_8(const void* address) {
#if defined(__CUDA_ARCH__)
  const uint2 words = *static_cast<const uint2*>(address);
  return {words.x, words.y};
#else
  Word2 words;
  std::memcpy(&words, address, sizeof words);
  return words;
#endif
}

WEFT_HD void store_8(void* address, Word2 words) {
#if defined(__CUDA_ARCH__)
  *static_cast<uint2*>(address) = make_uint2(words.x, words.y);
#else
  std::memcpy(address, &words, sizeof words);
#endif
}

// A warp scores 32 centroids with 32 columns at a time; a block's eight warps 256 centroids with
// `groups_per_block` groups of columns, so that a batch reads centroids once.
struct ScoreCentroids {
  static constexpr int kThreads = 256;
  static constexpr int kBlocksPerProcessor = 2;
  static constexpr int kRowsPerWarp = 32;
  static constexpr int kRowsPerBlock = kThreads / 32 * kRowsPerWarp;
  struct Shared {};
  struct Products {
    std::int32_t of[2][4][4];  // 16 rows each, 8 columns each, of a lane
  };
  struct Rows {
    std::uint32_t of[2][4];
  };
  struct Vectors {
    std::uint32_t of[4][2];
  };
  SearchView view;
  std::uint32_t n_queries;
  std::uint32_t groups_per_block;

  template <typename Block>
  WEFT_BODY void operator()(Block& block, Shared&) const {
    typename Block::template PerThread<Products> products;
    typename Block::template PerThread<Rows> rows;
    typename Block::template PerThread<Vectors> vectors;
    const std::uint32_t per_query = view.columns / kGroup;
    const std::uint32_t first = block.y() * groups_per_block;
    const std::uint32_t end = least(first + groups_per_block, per_query * n_queries);
    block.warps([&](auto& warp) {
      const std::int64_t row =
          std::int64_t{block.x()} * kRowsPerBlock + warp.number() * kRowsPerWarp;
      if (row >= view.padded_centroids()) return;
      for (std::uint32_t group = first; group < end; ++group) {
        multiply(warp, row, group, products, rows, vectors);
        warp.lanes([&](int t) {
          write(products[t], t % 32, row, group / per_query, group % per_query);
        });
      }
    });
  }

 private:
  // Groups of a query follow each other, and those of the next query follow them.
  template <typename Warp, typename P, typename R, typename V>
  WEFT_BODY void multiply(Warp& warp, std::int64_t row, std::uint32_t group, P& products, R& rows,
                          V& vectors) const {
    const std::uint32_t steps = view.codec.steps;
    warp.lanes([&](int t) {
      WEFT_UNROLL for (int m = 0; m < 2; ++m) {
        WEFT_UNROLL for (int n = 0; n < 4; ++n) {
          WEFT_UNROLL for (int i = 0; i < 4; ++i) products[t].of[m][n][i] = 0;
        }
      }
    });
    for (std::uint32_t s = 0; s < steps; ++s) {
      warp.lanes([&](int t) {
        const std::int64_t lane = t % 32 * 8;
        const std::int64_t component = std::int64_t{s} * kTileBytes;
        WEFT_UNROLL for (int m = 0; m < 4; ++m) {
          const Word2 words = load_8(view.codec.centroid_tiles +
                                     tile_place(row + m * kTileRows, component, steps) + lane);
          rows[t].of[m / 2][m % 2] = words.x;
          rows[t].of[m / 2][m % 2 + 2] = words.y;
        }
        WEFT_UNROLL for (int n = 0; n < 4; ++n) {
          const std::int64_t column = std::int64_t{group} * kGroup + n * kTileRows;
          const Word2 words =
              load_8(view.query_tiles + tile_place(column, component, steps) + lane);
          vectors[t].of[n][0] = words.x;
          vectors[t].of[n][1] = words.y;
        }
      });
      WEFT_UNROLL for (int m = 0; m < 2; ++m) {
        WEFT_UNROLL for (int n = 0; n < 4; ++n) {
          warp.multiply_bytes([&](int t) { return products[t].of[m][n]; },
                              [&](int t) { return rows[t].of[m]; },
                              [&](int t) { return vectors[t].of[n]; });
        }
      }
    }
  }

  // A lane holds eight neighbouring columns of four rows.
  WEFT_BODY void write(const Products& products, int lane, std::int64_t row, std::uint32_t q,
                       std::uint32_t group) const {
    const std::uint32_t column = group * kGroup + lane % 4 * 8;
    const std::int64_t place = std::int64_t{q} * view.columns + column;
    const ByteScale* scales = view.byte_scales + place;
    const std::uint8_t* limits = view.limits + place;
    WEFT_UNROLL for (int m = 0; m < 4; ++m) {
      const std::int64_t centroid = row + m * kTileRows + lane / 4;
      const Scale scale = view.codec.row_scales[centroid];
      std::uint32_t words[2] = {0, 0};
      WEFT_UNROLL for (int i = 0; i < 8; ++i) {
        const std::uint32_t byte =
            score_byte(products.of[m / 2][i / 2][m % 2 * 2 + i % 2], scales[i], scale);
        words[i / 4] |= byte << i % 4 * 8;
        if (byte > limits[i] && centroid < view.codec.n_centroids) {
          collect(place + i, byte, static_cast<std::uint32_t>(centroid));
        }
      }
      store_8(const_cast<std::uint8_t*>(view.table_row(q, centroid)) + column,
              {words[0], words[1]});
    }
  }

  // Beyond the capacity hits are only counted: `ChooseProbes` then looks into the table.
  WEFT_BODY void collect(std::int64_t column, std::uint32_t byte, std::uint32_t centroid) const {
    const std::uint32_t place = atomic_add(&view.n_hits[column], 1U);
    if (place < view.hit_capacity) {
      view.hits[column * view.hit_capacity + place] = probe_key(byte, centroid);
    }
  }
};

}  // namespace weft::device
