// Two levels of centroids: which of them are scored, and what stands for those that are not.
#include <algorithm>
#include <array>

#include "cpu/coded/stages.h"

namespace weft::cpu {
namespace {

constexpr std::int64_t kBlockRows = 96;
constexpr std::int64_t kChunkRows = 12 * kBlockRows;  // what threads take at a time

// Cells that a query vector looks into, besides those that its probes would fill twice. Of the 32
// best of 2^17 centroids of real vectors 24 cells held .995, and the 32 query vectors' cells .58 of
// all centroids; 8 cells .967 and .30, which cost .0075 of recall@10.
constexpr std::int64_t kCells = 24;

constexpr std::uint32_t kScored = ~std::uint32_t{0};

std::int64_t cells_per_vector(const Search& search) {
  const std::int64_t n_cells = search.codec.cells->size();
  const std::int64_t n_centroids = search.codec.n_centroids();
  return kCells + (2 * search.limits.nprobe * n_cells + n_centroids - 1) / n_centroids;
}

// The rows of the table behind those of the centroids.
void score_cells(Search& search) {
  const CodedRows& cells = search.codec.cells->rows;
  const std::int64_t columns = search.bytes.columns;
  const ColumnScales scales = byte_scales(search);
  std::int32_t* const tile = search.memory.workers[0].tile.resize(kBlockRows * columns);
  std::uint8_t* const table = search.memory.table.data() + search.codec.n_centroids() * columns;
  for (std::int64_t c = 0; c < cells.size(); c += kBlockRows) {
    const std::int64_t n = std::min(kBlockRows, cells.size() - c);
    search.primitives.dot_bytes(cells.row(c), n, cells.width(), search.bytes.centroid_panels,
                                columns, tile);
    search.primitives.scores_to_bytes(tile, n, columns, cells.scales() + c, scales,
                                      table + c * columns);
  }
}

// Marks the best `wanted` of the first n cells for a column; of equal ones the first.
void mark_best(const std::uint8_t* bytes, std::int64_t stride, std::int64_t n, std::int64_t wanted,
               std::uint32_t* marks) {
  std::array<std::int64_t, 256> counts{};
  for (std::int64_t c = 0; c < n; ++c) ++counts[bytes[c * stride]];
  std::int64_t above = 0;
  std::size_t limit = 255;
  for (; limit > 0 && above + counts[limit] < wanted; --limit) above += counts[limit];
  std::int64_t ties = wanted - above;
  for (std::int64_t c = 0; c < n; ++c) {
    const std::size_t byte = bytes[c * stride];
    if (byte > limit || (byte == limit && ties-- > 0)) marks[c] = kScored;
  }
}

// Each query vector's best cells of those that a segment's codes can be in.
void mark_cells(Search& search, std::int64_t n_centroids) {
  const CodedCells& cells = *search.codec.cells;
  const auto end = std::lower_bound(cells.offsets.begin(), cells.offsets.end(), n_centroids);
  const std::int64_t n = end - cells.offsets.begin();
  const std::int64_t columns = search.bytes.columns;
  const std::uint8_t* const table =
      search.memory.table.data() + search.codec.n_centroids() * columns;
  const std::int64_t wanted = std::min(cells_per_vector(search), n);
  for (std::int64_t j = 0; j < search.bytes.n_vectors; ++j) {
    mark_best(table + j, columns, n, wanted, search.memory.cell_rows.data());
  }
}

// Appends [begin, end) to memory.ranges, in pieces that threads share evenly.
void append_range(Search& search, std::int64_t begin, std::int64_t end) {
  Scratch<CentroidRange>& ranges = search.memory.ranges;
  for (; begin < end; begin += kChunkRows) {
    const std::int64_t n = ranges.size();
    ranges.grow(n, n + 1)[n] = {begin, std::min(begin + kChunkRows, end)};
  }
}

// The marked cells as ranges, neighbours together.
void append_marked(Search& search) {
  const CodedCells& cells = *search.codec.cells;
  const Scratch<std::uint32_t>& marks = search.memory.cell_rows;
  for (std::int64_t c = 0; c < cells.size();) {
    std::int64_t next = c;
    while (next < cells.size() && marks[next] == kScored) ++next;
    append_range(search, cells.offsets[static_cast<std::size_t>(c)],
                 cells.offsets[static_cast<std::size_t>(next)]);
    c = std::max(next, c + 1);
  }
}

}  // namespace

void choose_ranges(Search& search) {
  const CodedCodec& codec = search.codec;
  Memory& memory = search.memory;
  memory.ranges.resize(0);
  memory.cell_rows.resize(0);
  const bool two_levels = codec.cells && 2 * cells_per_vector(search) < codec.cells->size();
  const std::int64_t n_cells = two_levels ? codec.cells->size() : 0;
  memory.table.resize((codec.n_centroids() + n_cells) * search.bytes.columns);
  if (!two_levels) return append_range(search, 0, codec.n_centroids());
  score_cells(search);
  std::uint32_t* const rows = memory.cell_rows.resize(n_cells);
  for (std::int64_t c = 0; c < n_cells; ++c) {
    rows[c] = static_cast<std::uint32_t>(codec.n_centroids() + c);
  }
  std::int64_t marked = -1;
  for (const SearchedSegment& searched : search.segments) {
    if (searched.segment->n_centroids == marked) continue;
    marked = searched.segment->n_centroids;
    mark_cells(search, marked);
  }
  append_marked(search);
}

void Search::to_table_rows(std::uint32_t* codes, std::int64_t n) const {
  if (memory.cell_rows.size() == 0) return;
  const std::uint32_t* const cell_of = codec.cells->cell_of.data();
  const std::uint32_t* const rows = memory.cell_rows.data();
  for (std::int64_t i = 0; i < n; ++i) {
    const std::uint32_t row = rows[cell_of[codes[i]]];
    codes[i] = row == kScored ? codes[i] : row;
  }
}

}  // namespace weft::cpu
