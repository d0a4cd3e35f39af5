// Scores of all centroids as bytes, and those that are worth a probe.
#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "cpu/coded/stages.h"

namespace weft::cpu {
namespace {

constexpr std::int64_t kLeastSample = 512;
constexpr std::int64_t kMostSample = 2048;
constexpr std::int64_t kRowsPerSample = 32;  // a smaller share lets too much through its limits
constexpr std::int64_t kBlockRows = 96;  // whole tiles of 12 and of 32; all of it stays in L1

// Every so many centroids, side by side.
std::int64_t gather_sample(Search& search) {
  const CodedCodec& codec = search.codec;
  const std::int64_t share = codec.n_centroids() / kRowsPerSample;
  const std::int64_t n_rows =
      std::min(codec.n_centroids(), std::clamp(share, kLeastSample, kMostSample));
  const std::int64_t width = codec.rows.width();
  std::uint8_t* rows = search.memory.sample.resize(n_rows * width);
  RowScale* scales = search.memory.sample_scales.resize(n_rows);
  for (std::int64_t r = 0; r < n_rows; ++r) {
    const std::int64_t i = r * codec.n_centroids() / n_rows;
    std::copy_n(codec.rows.row(i), width, rows + r * width);
    scales[r] = codec.rows.scales()[i];
  }
  return n_rows;
}

// The greatest score that a query vector can have with a centroid.
float highest_score(const Search& search, std::int64_t j) {
  return search.bytes.norms[j] * search.codec.rows.longest();
}

// Byte 0 stands for two standard deviations below a query vector's mean over the sample, which is
// its best in a passage of few tokens at most; byte 255 for more than any centroid reaches. Sums
// are of shares of the greatest score, whose squares neither overflow nor vanish.
void fit_bytes(Search& search, const std::int32_t* tile, std::int64_t n_rows) {
  const QueryBytes& query = search.bytes;
  const RowScale* rows = search.memory.sample_scales.data();
  const std::int64_t columns = query.columns;
  float* const scales = search.memory.moments.resize(4 * columns);
  float* const lows = scales + columns;
  float* const sums = lows + columns;
  float* const squares = sums + columns;
  std::fill_n(sums, 2 * columns, 0.0F);
  for (std::int64_t j = 0; j < columns; ++j) {
    const float share = 1 / highest_score(search, j);
    scales[j] = std::isfinite(share) ? query.scales[j] * share : 0.0F;
    lows[j] = std::isfinite(share) ? query.sums[j] * share : 0.0F;
  }
  for (std::int64_t r = 0; r < n_rows; ++r) {
    for (std::int64_t j = 0; j < columns; ++j) {
      const float score = static_cast<float>(tile[r * columns + j]) * rows[r].scale * scales[j] +
                          lows[j] * rows[r].low;
      sums[j] += score;
      squares[j] += score * score;
    }
  }
  const auto share = 1 / static_cast<float>(n_rows);
  float* const lowest = search.memory.lowest.resize(columns);
  std::fill_n(lowest, columns, 0.0F);
  float widest = 0;
  for (std::int64_t j = 0; j < query.n_vectors; ++j) {
    const float mean = sums[j] * share;
    const float deviation = std::sqrt(std::max(squares[j] * share - mean * mean, 0.0F));
    const float highest = highest_score(search, j);
    lowest[j] = (mean - 2 * deviation) * highest;
    widest = std::max(widest, highest - lowest[j]);
  }
  search.scores.lowest = lowest;
  const float step = widest / 255.0F;
  search.scores.step = step > 0 && std::isfinite(1 / step) ? step : 1.0F;
}

// A bit below the byte that nprobe centroids are expected to reach.
void fit_limits(Search& search, const std::uint8_t* bytes, std::int64_t n_rows) {
  const std::int64_t columns = search.bytes.columns;
  std::uint8_t* limits = search.memory.limits.resize(columns);
  std::fill_n(limits, columns, std::uint8_t{255});
  const double expected = static_cast<double>(search.limits.nprobe) *
                          static_cast<double>(n_rows) /
                          static_cast<double>(search.codec.n_centroids());
  const auto rank = static_cast<std::int64_t>(std::ceil(expected + 2 * std::sqrt(expected) + 2));
  std::array<std::uint16_t, 256> counts;
  for (std::int64_t j = 0; j < search.bytes.n_vectors; ++j) {
    counts.fill(0);
    for (std::int64_t r = 0; r < n_rows; ++r) ++counts[bytes[r * columns + j]];
    std::int64_t above = 0;
    std::size_t byte = 255;
    for (; byte > 0 && above + counts[byte] <= rank; --byte) above += counts[byte];
    limits[j] = static_cast<std::uint8_t>(byte > 0 ? byte - 1 : 0);
  }
}

void take_sample(Search& search) {
  const std::int64_t columns = search.bytes.columns;
  WorkerMemory& worker = search.memory.workers[0];
  const std::int64_t n_rows = gather_sample(search);
  std::int32_t* tile = worker.tile.resize(n_rows * columns);
  search.primitives.dot_bytes(search.memory.sample.data(), n_rows, search.codec.rows.width(),
                              search.bytes.centroid_panels, columns, tile);
  fit_bytes(search, tile, n_rows);
  std::uint8_t* bytes = worker.rows.resize(n_rows * columns);
  search.primitives.scores_to_bytes(tile, n_rows, columns, search.memory.sample_scales.data(),
                                    byte_scales(search), bytes);
  fit_limits(search, bytes, n_rows);
}

// The rows [begin, end) of the table, and what of them is above the limits.
void score_rows(Search& search, const ColumnScales& scales, std::int64_t begin, std::int64_t end,
                WorkerMemory& worker) {
  const std::int64_t columns = search.bytes.columns;
  std::int32_t* tile = worker.tile.resize(kBlockRows * columns);
  for (std::int64_t r = begin; r < end; r += kBlockRows) {
    const std::int64_t n_rows = std::min(kBlockRows, end - r);
    std::uint8_t* bytes = search.memory.table.data() + r * columns;
    const CodedRows& rows = search.codec.rows;
    search.primitives.dot_bytes(rows.row(r), n_rows, rows.width(), search.bytes.centroid_panels,
                                columns, tile);
    search.primitives.scores_to_bytes(tile, n_rows, columns, rows.scales() + r, scales, bytes);
    std::uint64_t* hits = worker.hits.grow(worker.n_hits, worker.n_hits + n_rows * columns);
    worker.n_hits += search.primitives.collect_bytes(bytes, r, n_rows, columns,
                                                     search.memory.limits.data(),
                                                     hits + worker.n_hits);
  }
}

}  // namespace

ColumnScales byte_scales(const Search& search) {
  const QueryBytes& query = search.bytes;
  const std::int64_t columns = query.columns;
  const float inverse = 1 / search.scores.step;
  float* const scales = search.memory.byte_scales.resize(3 * columns);
  for (std::int64_t j = 0; j < columns; ++j) {
    scales[j] = query.scales[j] * inverse;
    scales[columns + j] = query.sums[j] * inverse;
    scales[2 * columns + j] = -search.scores.lowest[j] * inverse;
  }
  return {scales, scales + columns, scales + 2 * columns};
}

Status score_centroids(Search& search) {
  take_sample(search);
  const ColumnScales scales = byte_scales(search);
  Memory& memory = search.memory;
  choose_ranges(search);
  for (WorkerMemory& worker : memory.workers) worker.n_hits = 0;
  const Partition partition(memory.ranges.size(), 1, search.limits.threads);
  const Status status =
      parallel_for(partition, [&](std::int64_t i, std::int64_t, int worker) {
        score_rows(search, scales, memory.ranges[i].begin, memory.ranges[i].end,
                   memory.workers[static_cast<std::size_t>(worker)]);
        return Status();
      });
  if (!status.ok()) return status;
  std::int64_t n_hits = 0;
  for (const WorkerMemory& worker : memory.workers) n_hits += worker.n_hits;
  std::uint64_t* hits = memory.hits.resize(n_hits);
  for (const WorkerMemory& worker : memory.workers) {
    hits = std::copy_n(worker.hits.data(), worker.n_hits, hits);
  }
  return {};
}

}  // namespace weft::cpu
