#include "cpu/coded/probes.h"

#include <algorithm>
#include <span>

namespace weft::cpu {
namespace {

std::int64_t row_of(std::uint64_t hit) { return static_cast<std::int64_t>(hit >> 32); }
std::size_t column_of(std::uint64_t hit) { return static_cast<std::size_t>(hit >> 8 & 0xFFFFFF); }

std::vector<std::int64_t> count_columns(const Search& search, std::int64_t n_centroids) {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(search.bytes.columns));
  const Scratch<std::uint64_t>& hits = search.memory.hits;
  for (std::int64_t i = 0; i < hits.size(); ++i) {
    if (row_of(hits[i]) < n_centroids) ++counts[column_of(hits[i])];
  }
  return counts;
}

// Lowers the limits of columns that have too few; false where none is left to be lowered.
bool lower_limits(Search& search, const std::vector<std::int64_t>& counts) {
  bool lowered = false;
  for (std::int64_t j = 0; j < search.bytes.n_vectors; ++j) {
    std::uint8_t& limit = search.memory.limits[j];
    if (counts[static_cast<std::size_t>(j)] >= search.limits.nprobe || limit == 0) continue;
    limit = static_cast<std::uint8_t>(limit - limit / 8 - 1);
    lowered = true;
  }
  return lowered;
}

void collect_again(Search& search) {
  constexpr std::int64_t kRows = 1024;
  const std::int64_t columns = search.bytes.columns;
  std::int64_t n_hits = 0;
  for (std::int64_t r = 0; r < search.codec.n_centroids(); r += kRows) {
    const std::int64_t n_rows = std::min(kRows, search.codec.n_centroids() - r);
    std::uint64_t* hits = search.memory.hits.grow(n_hits, n_hits + n_rows * columns);
    n_hits += search.primitives.collect_bytes(search.memory.table.data() + r * columns, r, n_rows,
                                              columns, search.memory.limits.data(), hits + n_hits);
  }
  search.memory.hits.grow(n_hits, n_hits);
}

// The hits column by column, as probes in no order.
void scatter(Search& search, std::int64_t n_centroids, std::vector<std::int64_t> next) {
  const Scratch<std::uint64_t>& hits = search.memory.hits;
  Probe* probes = search.memory.probes.data();
  for (std::int64_t i = 0; i < hits.size(); ++i) {
    if (row_of(hits[i]) >= n_centroids) continue;
    const std::uint64_t rank = 255 - (hits[i] & 255);
    probes[next[column_of(hits[i])]++] = rank << 32 | hits[i] >> 32;
  }
}

// Where too few are above byte 0, of those at byte 0 the first ones, which come last in order.
void fill_up(const Search& search, std::int64_t n_centroids, std::size_t column,
             std::span<Probe> missing) {
  const std::uint8_t* byte = search.memory.table.data() + column;
  std::size_t n = 0;
  for (std::int64_t i = 0; i < n_centroids && n < missing.size(); ++i) {
    if (byte[i * search.bytes.columns] > 0) continue;
    missing[n++] = std::uint64_t{255} << 32 | static_cast<std::uint64_t>(i);
  }
}

// How many probes each column has.
std::vector<std::int64_t> probe_counts(const Search& search, std::int64_t n_centroids,
                                       std::vector<std::int64_t> hits) {
  const std::int64_t least = std::min(search.limits.nprobe, n_centroids);
  for (std::int64_t j = 0; j < search.bytes.n_vectors; ++j) {
    std::int64_t& count = hits[static_cast<std::size_t>(j)];
    count = std::max(count, least);
  }
  return hits;
}

}  // namespace

Probes choose_probes(Search& search, std::int64_t n_centroids) {
  std::vector<std::int64_t> hits = count_columns(search, n_centroids);
  while (lower_limits(search, hits)) {
    collect_again(search);
    hits = count_columns(search, n_centroids);
  }
  const std::vector<std::int64_t> counts = probe_counts(search, n_centroids, hits);
  std::vector<std::int64_t> all(counts.size() + 1);
  for (std::size_t j = 0; j < counts.size(); ++j) all[j + 1] = all[j] + counts[j];
  Probe* probes = search.memory.probes.resize(all.back());
  scatter(search, n_centroids, all);
  Probes chosen{std::vector<std::int64_t>(all.size())};
  for (std::size_t j = 0; j < counts.size(); ++j) {
    Probe* const begin = probes + all[j];
    Probe* const end = probes + all[j + 1];
    fill_up(search, n_centroids, j, {begin + hits[j], end});
    Probe* const kept = begin + std::min(counts[j], search.limits.nprobe);
    if (kept < end) std::nth_element(begin, kept, end);
    std::sort(begin, kept);
    std::copy(begin, kept, probes + chosen.begins[j]);
    chosen.begins[j + 1] = chosen.begins[j] + (kept - begin);
  }
  return chosen;
}

}  // namespace weft::cpu
