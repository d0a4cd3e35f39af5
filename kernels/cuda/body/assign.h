// The nearest centroid of each embedding: a product of matrices in bfloat16 whose results never
// leave the registers, and the two best of each embedding once more in float32.
#pragma once

#include "cuda/body/centroid_scores.h"

namespace weft::device {

inline constexpr int kAssignRows = 128;     // embeddings of a block
inline constexpr int kAssignColumns = 128;  // centroids at a time
inline constexpr int kAssignDepth = 128;    // components at a time
inline constexpr int kPart = 32;            // components that a lane reads at once: eight of them

// Rows of bfloat16 as tensor cores take them: tiles of 8 rows by 32 components, 512 bytes each, in
// which a lane's 16 bytes are in a row.
WEFT_HD std::int64_t bfloat_place(std::int64_t row, std::int64_t component, std::int64_t parts) {
  return ((row / kTileRows * parts + component / kPart) * kTileRows + row % kTileRows) * kPart +
         component % kPart;
}

// Embeddings as float32, or as the bits of IEEE binary16.
struct RowsView {
  const float* floats;
  const std::uint16_t* halves;
  std::int64_t n;
  std::uint32_t dim;

  WEFT_HD float at(std::int64_t row, std::uint32_t d) const {
    const std::int64_t place = row * dim + d;
    return floats != nullptr ? floats[place] : half_value(halves[place]);
  }
};

// Rows as tiles of bfloat16, zeros beyond them; raises a flag where a value is not finite.
struct ToBfloats {
  static constexpr int kThreads = 256;
  static constexpr int kBlocksPerProcessor = 1;
  struct Shared {};
  RowsView rows;
  std::uint16_t* tiles;
  std::int64_t padded_rows;
  std::uint32_t parts;
  std::uint32_t* failed;  // becomes 1

  template <typename Block>
  WEFT_BODY void operator()(Block& block, Shared&) const {
    const std::int64_t width = std::int64_t{parts} * kPart;
    block.threads([&](int t) {
      const std::int64_t step = std::int64_t{block.count_x()} * kThreads;
      for (std::int64_t i = std::int64_t{block.x()} * kThreads + t; i < padded_rows * width;
           i += step) {
        const std::int64_t row = i / width;
        const auto d = static_cast<std::uint32_t>(i % width);
        const float value = row < rows.n && d < rows.dim ? rows.at(row, d) : 0.0F;
        if (!is_finite(value)) atomic_max(failed, 1);
        tiles[bfloat_place(row, d, parts)] = bfloat_of(value);
      }
    });
  }
};

struct Contender {
  float score;
  std::uint32_t number;
};

// The best of those seen, and the next.
struct Contenders {
  Contender best;
  Contender next;
};

WEFT_HD void take(Contenders& two, const Contender& one) {
  if (one.score > two.best.score) {
    two.next = two.best;
    two.best = one;
  } else if (one.score > two.next.score) {
    two.next = one;
  }
}

inline constexpr std::uint32_t kNobody = 0xFFFFFFFFU;

// A block takes 128 embeddings past all centroids, 128 at a time, which arrive while those before
// are worked on. Warps are four by two: 32 embeddings with 64 centroids each. Where dim is at most
// 128 the embeddings stay in registers (kWhole). Of 16 products that a lane has of one embedding
// the best is found by comparing floats whose low seven bits say which it is.
template <bool kWhole>
struct Assign {
  static constexpr int kThreads = 256;
  static constexpr int kBlocksPerProcessor = 1;
  static constexpr int kStageWords = kAssignColumns * kAssignDepth / 2;
  struct Shared {
    alignas(16) std::uint32_t centroids[2][kStageWords];
    Contenders found[2][kAssignRows];
  };
  struct Rows {
    std::uint32_t of[4][2][2][4];  // part, 16 rows, half of the part: what one product takes
  };
  struct Columns {
    std::uint32_t of[8][2][2];  // 8 columns, half of the part
  };
  struct Products {
    float of[2][8][4];
  };
  struct Best {
    Contenders of[4];  // rows of a lane
  };

  const std::uint16_t* rows;       // tiles; as many as the blocks' rows
  const std::uint16_t* centroids;  // tiles; a multiple of 128
  std::uint32_t n_centroids;
  std::uint32_t parts;  // of a row; whole stages of four
  std::int64_t n_rows;
  Contenders* found;    // [n_rows]

  template <typename Block>
  WEFT_BODY void operator()(Block& block, Shared& shared) const {
    typename Block::template PerThread<Rows> a;
    typename Block::template PerThread<Products> products;
    typename Block::template PerThread<Columns> b;
    typename Block::template PerThread<Best> best;
    const std::uint32_t depth = parts / 4;  // stages of a tile of centroids
    const std::uint32_t n_stages = (n_centroids + kAssignColumns - 1) / kAssignColumns * depth;
    block.threads([&](int t) {
      WEFT_UNROLL for (int r = 0; r < 4; ++r) {
        best[t].of[r] = {{kNoMatch, kNobody}, {kNoMatch, kNobody}};
      }
      fetch(block, shared, t, 0);
      if (kWhole) read_rows(block, t, 0, a[t]);
    });
    for (std::uint32_t stage = 0; stage < n_stages; ++stage) {
      block.threads([&](int t) {
        if (stage + 1 < n_stages) {
          fetch(block, shared, t, stage + 1);
          block.template wait_groups<1>(t);
        } else {
          block.template wait_groups<0>(t);
        }
        if (!kWhole) read_rows(block, t, stage % depth, a[t]);
        if (stage % depth == 0) clear(products[t]);
      });
      block.warps([&](auto& warp) {
        multiply(warp, shared.centroids[stage % 2], a, b, products);
        if ((stage + 1) % depth != 0) return;
        const std::uint32_t first = stage / depth * kAssignColumns;
        warp.lanes([&](int t) { compare(products[t], t, first, best[t]); });
      });
    }
    merge(block, shared, best);
  }

 private:
  // A stage's tiles: of each eight centroids four parts, which lie in a row.
  template <typename Block>
  WEFT_BODY void fetch(Block& block, Shared& shared, int t, std::uint32_t stage) const {
    const std::uint32_t depth = parts / 4;
    constexpr int kPieces = kAssignDepth * kTileRows / 8;  // of 16 bytes, for eight centroids
    for (int i = t; i < kStageWords / 4; i += kThreads) {
      const std::int64_t row = std::int64_t{stage / depth} * kAssignColumns + i / kPieces * kTileRows;
      const std::int64_t place = bfloat_place(row, std::int64_t{stage % depth} * kAssignDepth, parts);
      block.fetch_16(&shared.centroids[stage % 2][i * 4], centroids + place + i % kPieces * 8);
    }
    block.end_group(t);
  }

  template <typename Block>
  WEFT_BODY void read_rows(Block& block, int t, std::uint32_t stage, Rows& a) const {
    const int lane = t % 32;
    const std::int64_t row = std::int64_t{block.x()} * kAssignRows + t / 64 * 32;
    WEFT_UNROLL for (int part = 0; part < 4; ++part) {
      WEFT_UNROLL for (int m = 0; m < 4; ++m) {
        const std::uint16_t* place =
            rows + bfloat_place(row + m * kTileRows, (std::int64_t{stage} * 4 + part) * kPart, parts) +
            lane * 8;
        WEFT_UNROLL for (int half = 0; half < 2; ++half) {
          const Word2 words = load_8(place + half * 4);
          a.of[part][m / 2][half][m % 2] = words.x;
          a.of[part][m / 2][half][m % 2 + 2] = words.y;
        }
      }
    }
  }

  static WEFT_BODY void clear(Products& products) {
    WEFT_UNROLL for (int m = 0; m < 2; ++m) {
      WEFT_UNROLL for (int n = 0; n < 8; ++n) {
        WEFT_UNROLL for (int i = 0; i < 4; ++i) products.of[m][n][i] = 0;
      }
    }
  }

  template <typename Warp, typename A, typename B, typename P>
  WEFT_BODY void multiply(Warp& warp, const std::uint32_t* stage, A& a, B& b, P& products) const {
    WEFT_UNROLL for (int part = 0; part < 4; ++part) {
      warp.lanes([&](int t) {
        WEFT_UNROLL for (int n = 0; n < 8; ++n) {
          const int tile = (t / 32 % 2 * 8 + n) * 4 + part;
          WEFT_UNROLL for (int half = 0; half < 2; ++half) {
            const Word2 words = load_8(stage + (tile * 32 + t % 32) * 4 + half * 2);
            b[t].of[n][half][0] = words.x;
            b[t].of[n][half][1] = words.y;
          }
        }
      });
      WEFT_UNROLL for (int n = 0; n < 8; ++n) {
        WEFT_UNROLL for (int half = 0; half < 2; ++half) {
          WEFT_UNROLL for (int m = 0; m < 2; ++m) {
            warp.multiply_bfloats([&](int t) { return products[t].of[m][n]; },
                                  [&](int t) { return a[t].of[part][m][half]; },
                                  [&](int t) { return b[t].of[n][half]; });
          }
        }
      }
    }
  }

  // A higher number in the low bits is a lower centroid.
  WEFT_BODY void compare(const Products& products, int t, std::uint32_t first, Best& best) const {
    const std::uint32_t column = t / 32 % 2 * 64 + t % 4 * 2;
    WEFT_UNROLL for (int r = 0; r < 4; ++r) {
      float most = kNoMatch;
      WEFT_UNROLL for (int n = 0; n < 8; ++n) {
        WEFT_UNROLL for (int i = 0; i < 2; ++i) {
          const std::uint32_t here = column + n * 8 + i;
          const std::uint32_t bits = bits_of(products.of[r / 2][n][r % 2 * 2 + i]);
          const float key = float_of((bits & ~127U) | (127U - here));
          if (first + here < n_centroids && key > most) most = key;
        }
      }
      const std::uint32_t number = first + 127U - (bits_of(most) & 127U);
      if (most > best.of[r].next.score) take(best.of[r], {most, number});
    }
  }

  // Four lanes and two warps share an embedding.
  template <typename Block, typename B>
  WEFT_BODY void merge(Block& block, Shared& shared, B& best) const {
    typename Block::template PerThread<Best> theirs;
    block.warps([&](auto& warp) {
      WEFT_UNROLL for (int mask = 1; mask < 4; mask *= 2) {
        warp.lanes([&](int t) { theirs[t] = best[t]; });
        WEFT_UNROLL for (int r = 0; r < 4; ++r) {
          WEFT_UNROLL for (int which = 0; which < 2; ++which) {
            const auto one = [&](int t) -> Contender& {
              return which == 0 ? theirs[t].of[r].best : theirs[t].of[r].next;
            };
            warp.template exchange<float>(
                mask, [&](int t) -> float& { return one(t).score; },
                [](float, float other) { return other; });
            warp.template exchange<std::uint32_t>(
                mask, [&](int t) -> std::uint32_t& { return one(t).number; },
                [](std::uint32_t, std::uint32_t other) { return other; });
          }
        }
        warp.lanes([&](int t) {
          WEFT_UNROLL for (int r = 0; r < 4; ++r) {
            take(best[t].of[r], theirs[t].of[r].best);
            take(best[t].of[r], theirs[t].of[r].next);
          }
        });
      }
      warp.lanes([&](int t) {
        if (t % 4 != 0) return;
        WEFT_UNROLL for (int r = 0; r < 4; ++r) {
          shared.found[t / 32 % 2][t / 64 * 32 + r * 8 + t % 32 / 4] = best[t].of[r];
        }
      });
    });
    block.threads([&](int t) {
      const std::int64_t row = std::int64_t{block.x()} * kAssignRows + t;
      if (t >= kAssignRows || row >= n_rows) return;
      Contenders two = shared.found[0][t];
      take(two, shared.found[1][t].best);
      take(two, shared.found[1][t].next);
      found[row] = two;
    });
  }
};

// A warp per embedding: the better of its contenders in float32, the lower in a tie.
struct ChooseBetter {
  static constexpr int kThreads = 128;
  static constexpr int kBlocksPerProcessor = 1;
  struct Shared {};
  struct Sums {
    float of[2];
  };
  RowsView rows;
  const float* centroids;
  const Contenders* found;
  std::uint32_t* codes;
  float* scores;
  std::uint32_t* failed;  // becomes 2 where there is no finite best score

  template <typename Block>
  WEFT_BODY void operator()(Block& block, Shared&) const {
    typename Block::template PerThread<Sums> sums;
    block.warps([&](auto& warp) {
      const std::int64_t row = std::int64_t{block.x()} * (kThreads / 32) + warp.number();
      if (row >= rows.n) return;
      const Contenders two = found[row];
      warp.lanes([&](int t) {
        WEFT_UNROLL for (int i = 0; i < 2; ++i) {
          const std::uint32_t number = i == 0 ? two.best.number : two.next.number;
          float sum = 0;
          for (std::uint32_t d = t % 32; number != kNobody && d < rows.dim; d += 32) {
            sum = fused(rows.at(row, d), centroids[std::int64_t{number} * rows.dim + d], sum);
          }
          sums[t].of[i] = sum;
        }
      });
      WEFT_UNROLL for (int mask = 16; mask > 0; mask /= 2) {
        WEFT_UNROLL for (int i = 0; i < 2; ++i) {
          warp.template exchange<float>(
              mask, [&](int t) -> float& { return sums[t].of[i]; },
              [](float x, float y) { return x + y; });
        }
      }
      warp.lanes([&](int t) {
        if (t % 32 != 0) return;
        Contender one{sums[t].of[0], two.best.number};
        const Contender other{sums[t].of[1], two.next.number};
        const bool lower = other.score == one.score && other.number < one.number;
        if (other.number != kNobody && (other.score > one.score || lower)) one = other;
        if (one.number == kNobody || !is_finite(one.score)) atomic_max(failed, 2);
        codes[row] = one.number == kNobody ? 0 : one.number;
        scores[row] = one.score;
      });
    });
  }
};

}  // namespace weft::device
