// What kernels of the search read and write: plain structures that are passed by value.
//
// Letters in shapes: B queries of a batch, G groups of segments that know the same number of
// centroids, C columns (query vectors rounded up to 32), K centroids (rounded up to 32), P places
// (passages of all segments, one after the other).
#pragma once

#include "weft/device/bytes.h"

namespace weft::device {

struct CodecView {
  const std::uint8_t* centroid_tiles;  // [K, dim] as tiles of unsigned bytes; see tile_place
  const Scale* row_scales;             // [K]
  const float* centroids;              // [K, dim]
  const float* weights;                // [2^bits]
  const std::uint64_t* weight_bytes;   // [256]: the weights, as bytes, of the codes of a byte
  std::uint32_t n_centroids;           // without those that round up
  std::uint32_t dim;
  std::uint32_t steps;                 // tiles of a row
  std::uint32_t packed_bytes;          // of a row of residuals
  int bits;
  float longest;                       // norm of a centroid
  Scale weight_scale;
  Scale inverse_norm_scale;
};

struct SegmentView {
  const std::uint16_t* narrow;       // codes: one of the two is set
  const std::uint32_t* wide;
  const std::uint8_t* residuals;     // on the device, or in pinned memory of the host
  const std::uint8_t* inverse_norms;
  const std::int64_t* offsets;
  const std::uint32_t* list_numbers;  // of the lists' centroids; nullptr: one for each centroid
  const std::int64_t* list_offsets;
  const std::uint32_t* pids;
  std::uint32_t n_lists;
  std::uint32_t first_place;
  std::uint32_t n_passages;
  std::uint32_t group;

  WEFT_HD std::uint32_t code(std::int64_t token) const {
    return narrow != nullptr ? narrow[token] : wide[token];
  }
};

struct Probe {
  std::uint32_t centroid;
  std::uint32_t gain;  // 0: there is none
};

struct Outcome {
  std::uint32_t n_found;
  std::uint32_t not_a_number;  // nonzero: a score was NaN
};

inline constexpr std::uint32_t kBins = 512;             // of a digit of a word
inline constexpr std::uint32_t kDigitBits = 9;          // two digits hold 255 * 1023
inline constexpr std::uint32_t kGainWords = kGroup / 4;  // gains of a place, one byte a column

struct SearchView {
  CodecView codec;
  const SegmentView* segments;          // [n_segments]
  const std::uint32_t* group_centroids;  // [G]
  const std::uint8_t* allowed;          // [P] zero means no; nullptr: all
  std::uint32_t n_segments;
  std::uint32_t n_groups;
  std::uint32_t n_places;
  std::uint32_t columns;
  std::uint32_t nprobe;
  std::uint32_t n_candidates;
  std::uint32_t n_rescored;
  std::uint32_t n_exact;
  std::uint32_t hit_capacity;
  std::uint32_t n_chunks;      // of places
  std::uint32_t chunk_places;
  std::uint32_t rank_capacity;  // n_rescored rounded up to a power of two

  const float* query;                // [B, C, dim]
  const std::uint32_t* n_vectors;    // [B]
  std::int8_t* query_tiles;          // [B, C, dim] as tiles
  float* query_scales;               // [B, C]: a step
  float* query_sums;                 // [B, C]: of the steps' components
  float* query_norms;                // [B, C]
  float* lowest;                     // [B, C]: what byte 0 stands for
  std::uint32_t* widest;             // [B]: bits of the widest range of scores; starts at 0
  ByteScale* byte_scales;            // [B, C]
  Scale* residual_scales;            // [B, C]
  std::uint8_t* limits;              // [B, C]: bytes above are hits
  std::uint32_t* n_hits;             // [B, C]; starts at 0
  std::uint64_t* hits;               // [B, C, hit_capacity] probe keys
  std::uint8_t* table;               // [B, K, C] scores
  Probe* probes;                     // [B, G, C, nprobe]
  std::uint32_t* gains;              // [B, P, 8]: of 32 columns; starts at 0
  std::uint32_t* words;              // [B, P]: what each passage gained; starts at 0
  std::uint32_t* histograms;         // [B, 2, kBins]; starts at 0
  std::uint32_t* chunk_counts;       // [B, n_chunks, 2]: words above the limit, and at it
  std::uint32_t* n_chosen;           // [B]
  std::uint32_t* chosen;             // [B, n_candidates] places
  std::uint64_t* keys;               // [B, n_candidates]
  std::uint32_t* n_kept;             // [B]
  std::uint32_t* kept;               // [B, n_rescored] places
  float* maxima;                     // [B, n_rescored, C]
  std::uint64_t* ranked;             // [B, rank_capacity] score keys, best first
  float* exact_maxima;               // [B, n_exact, C]
  Outcome* outcomes;                 // [B]; starts at 0

  WEFT_HD std::int64_t padded_centroids() const { return padded_to(codec.n_centroids, kGroup); }
  WEFT_HD std::int64_t query_tile_bytes() const {
    return std::int64_t{columns} * codec.steps * kTileBytes;
  }
  WEFT_HD const std::uint8_t* table_row(std::uint32_t q, std::int64_t centroid) const {
    return table + (q * padded_centroids() + centroid) * columns;
  }
  // What a step of a byte of the table is worth.
  WEFT_HD float step(std::uint32_t q) const {
    const float step = float_of(widest[q]) / 255.0F;
    return step > 0 && is_finite(1 / step) ? step : 1.0F;
  }
  WEFT_HD const SegmentView& segment_of(std::uint32_t place) const {
    std::uint32_t low = 0;
    std::uint32_t high = n_segments;
    while (high - low > 1) {  // empty segments share their place with the one behind them
      const std::uint32_t middle = (low + high) / 2;
      (segments[middle].first_place <= place ? low : high) = middle;
    }
    return segments[low];
  }
};

// The tokens of a passage.
struct Tokens {
  const SegmentView* segment;
  std::int64_t begin;
  std::int64_t end;

  WEFT_HD std::int64_t size() const { return end - begin; }
};

WEFT_HD Tokens tokens_of(const SearchView& view, std::uint32_t place) {
  const SegmentView& segment = view.segment_of(place);
  const std::uint32_t pid = place - segment.first_place;
  return {&segment, segment.offsets[pid], segment.offsets[pid + 1]};
}

}  // namespace weft::device
