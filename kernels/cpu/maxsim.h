// MaxSim over passages whose tokens come a block at a time, however they are stored.
#pragma once

#include <algorithm>
#include <vector>

#include "cpu/buffer.h"
#include "cpu/panels.h"
#include "cpu/passages.h"
#include "cpu/primitives.h"
#include "cpu/thread_pool.h"

namespace weft::cpu {

inline constexpr std::int64_t kTokensPerBlock = 32;
inline constexpr std::int64_t kPassagesPerChunk = 8;

// What one thread works in.
struct MaxsimScratch {
  MaxsimScratch(std::int64_t dim, std::int64_t columns)
      : rows(kTokensPerBlock, dim), tile(kTokensPerBlock, columns), best(columns) {}

  Buffer<float> rows;  // a block of tokens as float32
  Buffer<float> tile;  // the block's dot products with the query
  Buffer<float> best;  // the maximum for each query vector so far
};

// Scores all visited passages. `tokens` has
//   std::int64_t size() const;
//   Status update(Rows block, const Panels& query, MaxsimScratch& scratch) const;
// and update() raises scratch.best by the scores of at most kTokensPerBlock tokens.
template <typename Tokens>
Status maxsim_passages(const Primitives& primitives, const Matrix<float>& query,
                       const Passages& passages, const Tokens& tokens, int threads,
                       float* result) {
  const Panels panels(query, primitives.lanes);
  const Partition partition(passages.count(), kPassagesPerChunk, threads);
  std::vector<MaxsimScratch> scratches;
  for (int w = 0; w < partition.workers; ++w) {
    scratches.emplace_back(query.columns, panels.columns());
  }

  const auto score = [&](std::int64_t i, MaxsimScratch& scratch) -> Status {
    Rows rows;
    if (Status status = visit(passages, i, tokens.size(), &rows); !status.ok()) return status;
    forget_maxima(scratch.best.data(), panels.columns());
    for (std::int64_t t = rows.begin; t < rows.end; t += kTokensPerBlock) {
      const Rows block{t, std::min(t + kTokensPerBlock, rows.end)};
      if (Status status = tokens.update(block, panels, scratch); !status.ok()) return status;
    }
    result[i] = sum_of_maxima(scratch.best.data(), query.rows);
    return {};
  };
  return parallel_for(partition, [&](std::int64_t begin, std::int64_t end, int worker) {
    for (std::int64_t i = begin; i < end; ++i) {
      MaxsimScratch& scratch = scratches[static_cast<std::size_t>(worker)];
      if (Status status = score(i, scratch); !status.ok()) return status;
    }
    return Status();
  });
}

}  // namespace weft::cpu
