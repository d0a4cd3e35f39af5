#include "cpu/coded/probes.h"

#include <algorithm>
#include <span>

#include "cpu/thread_pool.h"

namespace weft::cpu {
namespace {

constexpr std::int64_t kColumnsPerTask = 4;

std::int64_t row_of(std::uint64_t hit) { return static_cast<std::int64_t>(hit >> 32); }
std::size_t column_of(std::uint64_t hit) { return static_cast<std::size_t>(hit >> 8 & 0xFFFFFF); }

// How many hits each column has among the first centroids, in memory.
std::int64_t* count_columns(Search& search, std::int64_t n_centroids) {
  std::int64_t* const counts = search.memory.probe_counts.resize(search.bytes.columns);
  std::fill_n(counts, search.bytes.columns, 0);
  const Scratch<std::uint64_t>& hits = search.memory.hits;
  for (std::int64_t i = 0; i < hits.size(); ++i) {
    if (row_of(hits[i]) < n_centroids) ++counts[column_of(hits[i])];
  }
  return counts;
}

// Lowers the limits of columns that have too few; false where none is left to be lowered.
bool lower_limits(Search& search, const std::int64_t* counts) {
  bool lowered = false;
  for (std::int64_t j = 0; j < search.bytes.n_vectors; ++j) {
    std::uint8_t& limit = search.memory.limits[j];
    if (counts[j] >= search.limits.nprobe || limit == 0) continue;
    limit = static_cast<std::uint8_t>(limit - limit / 8 - 1);
    lowered = true;
  }
  return lowered;
}

void collect_again(Search& search) {
  const std::int64_t columns = search.bytes.columns;
  std::int64_t n_hits = 0;
  for (std::int64_t i = 0; i < search.memory.ranges.size(); ++i) {
    const auto [begin, end] = search.memory.ranges[i];
    std::uint64_t* hits = search.memory.hits.grow(n_hits, n_hits + (end - begin) * columns);
    n_hits += search.primitives.collect_bytes(search.memory.table.data() + begin * columns, begin,
                                              end - begin, columns, search.memory.limits.data(),
                                              hits + n_hits);
  }
  search.memory.hits.grow(n_hits, n_hits);
}

// How many of the first centroids were scored.
std::int64_t count_scored(const Search& search, std::int64_t n_centroids) {
  std::int64_t n = 0;
  for (std::int64_t i = 0; i < search.memory.ranges.size(); ++i) {
    const auto [begin, end] = search.memory.ranges[i];
    n += std::max(std::min(end, n_centroids) - begin, std::int64_t{0});
  }
  return n;
}

// The hits column by column, as probes in no order; advances where each column's next one goes.
void scatter(Search& search, std::int64_t n_centroids, std::int64_t* next) {
  const Scratch<std::uint64_t>& hits = search.memory.hits;
  Probe* const probes = search.memory.probes.data();
  for (std::int64_t i = 0; i < hits.size(); ++i) {
    if (row_of(hits[i]) >= n_centroids) continue;
    const std::uint64_t rank = 255 - (hits[i] & 255);
    probes[next[column_of(hits[i])]++] = rank << 32 | hits[i] >> 32;
  }
}

// Where too few are above byte 0, of those at byte 0 the first ones, which come last in order.
void fill_up(const Search& search, std::int64_t n_centroids, std::int64_t column,
             std::span<Probe> missing) {
  const std::uint8_t* byte = search.memory.table.data() + column;
  std::size_t n = 0;
  for (std::int64_t r = 0; r < search.memory.ranges.size(); ++r) {
    const auto [begin, range_end] = search.memory.ranges[r];
    const std::int64_t end = std::min(range_end, n_centroids);
    for (std::int64_t i = begin; i < end && n < missing.size(); ++i) {
      if (byte[i * search.bytes.columns] > 0) continue;
      missing[n++] = std::uint64_t{255} << 32 | static_cast<std::uint64_t>(i);
    }
  }
}

// Where each column's probes begin: room for its hits and for what fills them up.
std::int64_t* find_begins(Search& search, std::int64_t n_centroids, const std::int64_t* hits) {
  const std::int64_t columns = search.bytes.columns;
  const std::int64_t least = std::min(search.limits.nprobe, count_scored(search, n_centroids));
  std::int64_t* const begins = search.memory.probe_begins.resize(columns + 1);
  begins[0] = 0;
  for (std::int64_t j = 0; j < columns; ++j) {
    const std::int64_t n = j < search.bytes.n_vectors ? std::max(hits[j], least) : 0;
    begins[j + 1] = begins[j] + n;
  }
  return begins;
}

// Puts the best of a column's probes in front, in order; where they end.
std::int64_t keep_best(Search& search, std::int64_t n_centroids, std::int64_t column,
                       std::int64_t n_hits) {
  const std::int64_t* const begins = search.memory.probe_begins.data();
  Probe* const begin = search.memory.probes.data() + begins[column];
  Probe* const end = search.memory.probes.data() + begins[column + 1];
  if (begin + n_hits < end) fill_up(search, n_centroids, column, {begin + n_hits, end});
  Probe* const kept = begin + std::min(end - begin, search.limits.nprobe);
  if (kept < end) std::nth_element(begin, kept, end);
  std::sort(begin, kept);
  return kept - search.memory.probes.data();
}

}  // namespace

Status choose_probes(Search& search, std::int64_t n_centroids, Probes* probes) {
  std::int64_t* hits = count_columns(search, n_centroids);
  while (lower_limits(search, hits)) {
    collect_again(search);
    hits = count_columns(search, n_centroids);
  }
  const std::int64_t columns = search.bytes.columns;
  std::int64_t* const begins = find_begins(search, n_centroids, hits);
  search.memory.probes.resize(begins[columns]);
  std::int64_t* const ends = search.memory.probe_ends.resize(columns);
  std::copy_n(begins, columns, ends);
  scatter(search, n_centroids, ends);
  *probes = {begins, ends};
  const Partition partition(columns, kColumnsPerTask, search.limits.threads);
  return parallel_for(partition, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t j = begin; j < end; ++j) {
      ends[j] = keep_best(search, n_centroids, j, hits[j]);
    }
    return Status();
  });
}

}  // namespace weft::cpu
