// The stages of a search in bytes, each from the memory that the one before has filled.
#pragma once

#include <span>
#include <vector>

#include "cpu/coded/codec.h"
#include "cpu/coded/query_bytes.h"
#include "cpu/primitives.h"
#include "cpu/thread_pool.h"
#include "weft/coded_search.h"

namespace weft::cpu {

// Centroid scores as bytes: score = lowest[j] + step * byte for column j, bounded below by
// lowest[j], above by the query vector's norm times the longest centroid's.
struct ScoreBytes {
  float step = 1;
  const float* lowest = nullptr;  // [columns]
};

// One query under way.
struct Search {
  const CodedCodec& codec;
  const Primitives& primitives;
  const Matrix<float>& query;
  std::span<const SearchedSegment> segments;
  const SearchLimits& limits;
  Memory& memory;
  std::vector<UncheckedBlocks>& unchecked;
  QueryBytes bytes{};
  ScoreBytes scores{};
  std::span<const std::int64_t> places{};  // [segments + 1]: where each segment's passages start

  std::int64_t segment_of(std::int64_t place) const;
  // Makes codes rows of memory.table: a centroid's own or, where it was not scored, its cell's.
  void to_table_rows(std::uint32_t* codes, std::int64_t n) const;
  // Whether all blocks of these bytes of a segment's file may be read; else they are noted.
  bool may_read(std::int64_t segment, std::int64_t begin, std::int64_t end);
};

// Factors that make bytes of sums of products; views of memory.
ColumnScales byte_scales(const Search& search);

// Fills memory.ranges with the centroids to be scored: all, or those of the cells that are nearest
// to some query vector. Then the cells' rows of the table and memory.cell_rows are filled too.
void choose_ranges(Search& search);

// Fills memory.table and memory.hits: centroids worth a probe.
Status score_centroids(Search& search);

// Fills memory.words with what the probed lists say of each passage.
Status accumulate(Search& search);

// Fills memory.keys with the best n_candidates passages, in no order; their number.
std::int64_t select_candidates(Search& search);

// Keeps the best n_rescored of n keys by centroid interaction; their number.
Status interact(Search& search, std::int64_t* n_keys);

// Fills memory.scores with the MaxSim of each key's passage.
Status rescore(Search& search, std::int64_t n_keys);

// The same for one passage in float32, on reconstructed vectors; panels of the query in memory.
Status score_exactly(Search& search, std::int64_t place, WorkerMemory& worker, float* score);

}  // namespace weft::cpu
