// Centroid interaction: MaxSim with each token replaced by its centroid, on rows of bytes.
#pragma once

#include "cuda/body/centroid_scores.h"
#include "cuda/body/select.h"

namespace weft::device {

// A warp per candidate: eight lanes read a row of 32 columns, four tokens at a time.
struct Interact {
  static constexpr int kThreads = 128;
  static constexpr int kBlocksPerProcessor = 1;
  struct Shared {};
  SearchView view;

  template <typename Block>
  WEFT_BODY void operator()(Block& block, Shared&) const {
    const std::uint32_t q = block.y();
    typename Block::template PerThread<std::uint32_t> best;
    typename Block::template PerThread<std::uint32_t> sum;
    block.warps([&](auto& warp) {
      const std::uint32_t i = block.x() * (kThreads / 32) + warp.number();
      if (i >= view.n_chosen[q]) return;
      const std::int64_t row = std::int64_t{q} * view.n_candidates + i;
      const std::uint32_t place = view.chosen[row];
      const Tokens tokens = tokens_of(view, place);
      warp.lanes([&](int t) { sum[t] = 0; });
      for (std::uint32_t column = 0; column < view.columns; column += kGroup) {
        warp.lanes([&](int t) {
          const int lane = t % 32;
          std::uint32_t greatest = 0;
          for (std::int64_t token = tokens.begin + lane / 8; token < tokens.end; token += 4) {
            const std::uint8_t* bytes =
                view.table_row(q, tokens.segment->code(token)) + column + lane % 8 * 4;
            greatest = greatest_bytes(greatest, *reinterpret_cast<const std::uint32_t*>(bytes));
          }
          best[t] = greatest;
        });
        for (int mask = 8; mask < 32; mask *= 2) {
          warp.template exchange<std::uint32_t>(
              mask, [&](int t) -> std::uint32_t& { return best[t]; },
              [](std::uint32_t a, std::uint32_t b) { return greatest_bytes(a, b); });
        }
        warp.lanes([&](int t) { sum[t] += sum_of_bytes(best[t]); });
      }
      for (int mask = 1; mask < 8; mask *= 2) {
        warp.template exchange<std::uint32_t>(
            mask, [&](int t) -> std::uint32_t& { return sum[t]; },
            [](std::uint32_t a, std::uint32_t b) { return a + b; });
      }
      warp.lanes([&](int t) {
        if (t % 32 != 0) return;
        const std::uint32_t most = 255U * view.columns;
        view.keys[row] = static_cast<std::uint64_t>(most - sum[t]) << 32 | place;
      });
    });
  }
};

// A block per query: the n_rescored best candidates by that sum, the lower place first in a tie.
struct KeepBest {
  static constexpr int kThreads = 512;
  static constexpr int kBlocksPerProcessor = 1;
  struct Shared {
    SelectShared select;
    std::uint32_t n_kept;
  };
  SearchView view;

  template <typename Block>
  WEFT_BODY void operator()(Block& block, Shared& shared) const {
    const std::uint32_t q = block.x();
    const std::uint32_t n = view.n_chosen[q];
    const std::uint32_t wanted = least(n, view.n_rescored);
    const std::uint64_t* keys = view.keys + std::int64_t{q} * view.n_candidates;
    std::uint32_t* kept = view.kept + std::int64_t{q} * view.n_rescored;
    block.threads([&](int t) {
      if (t > 0) return;
      shared.n_kept = 0;
      view.n_kept[q] = wanted;
    });
    std::uint64_t last = kNoKey;
    if (wanted == 0) return;
    if (wanted < n) {
      int bits = 32;
      for (std::uint32_t most = 255U * view.columns; most > 0; most /= 2) ++bits;
      last = select_smallest(block, shared.select, n, wanted, bits,
                             [&](std::int64_t i) { return keys[i]; });
    }
    block.threads([&](int t) {
      for (std::uint32_t i = t; i < n; i += kThreads) {
        if (keys[i] > last) continue;
        kept[atomic_add(&shared.n_kept, 1U)] = static_cast<std::uint32_t>(keys[i]);
      }
    });
  }
};

}  // namespace weft::device
