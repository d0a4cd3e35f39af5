// The few inner loops that differ between targets: plain functions over raw pointers.
//
// This header is compiled into files with AVX-512 flags. It must not pull in anything from the
// standard library that defines an inline function or a template: the linker keeps one copy of
// each, and an older processor would then run the copy compiled for a newer one.
//
// A panel is how a target wants the right-hand side of a dot product: `lanes` vectors side by
// side, component after component, so that panels[(p * dim + d) * lanes + j] is component d of
// vector p * lanes + j. Missing vectors are zero. Arrays described as [padded] have a whole
// number of lanes. `best` arrays follow fmax: NaN never replaces a number.
#pragma once

#include <cstdint>

namespace weft::cpu {

struct RowScale {
  float scale;
  float low;
};

struct ColumnScales {
  const float* scales;
  const float* lows;
  const float* offsets;
};

// A key holds a score in its high bits and, in these low ones, kMostKeyRows - 1 less a row's number:
// of equal scores the lower row has the higher key.
inline constexpr int kKeyRowBits = 10;
inline constexpr std::int64_t kMostKeyRows = 1 << kKeyRowBits;

struct Primitives {
  const char* name;
  std::int64_t lanes;

  // out[r * n_panels * lanes + j] = dot(row r, vector j), components added in order, each row
  // for itself: a result does not depend on the rows and vectors beside it.
  void (*dot)(const float* rows, std::int64_t n_rows, std::int64_t dim, const float* panels,
              std::int64_t n_panels, float* out);

  // best[j] = max(best[j], tile[r, j]) over all rows; tile [n_rows, columns], columns padded.
  void (*max_rows)(const float* tile, std::int64_t n_rows, std::int64_t columns, float* best);

  // best[j] = max(best[j], (scores[codes[r], j] + tile[r, j]) * inverse_norms[r]);
  // scores [K, n_queries], tile [n_rows, padded], best [padded].
  void (*max_residual_rows)(const float* tile, std::int64_t n_rows, const float* scores,
                            std::int64_t n_queries, const std::uint32_t* codes,
                            const float* inverse_norms, float* best);

  // best[j] = max(best[j], scores[codes[i], j]); scores [K, n_queries], best [padded].
  void (*max_gathered_rows)(const float* scores, std::int64_t n_queries,
                            const std::uint32_t* codes, std::int64_t n_codes, float* best);

  // maxima[r] = max over j of scores[r, j], -inf where all are NaN.
  void (*row_maxima)(const float* scores, std::int64_t n_rows, std::int64_t n_queries,
                     float* maxima);

  // Where tile[r, j] > best[j], in ascending r: best[j] = tile[r, j], numbers[j] = first_row + r.
  void (*argmax_rows)(const float* tile, std::int64_t n_rows, std::int64_t columns,
                      std::uint32_t first_row, float* best, std::uint32_t* numbers);

  // The first row in [begin, end) with an element that is not <= limits[j], or end;
  // scores [rows, n_queries], limits [padded], +inf beyond n_queries.
  std::int64_t (*find_row_above)(const float* scores, std::int64_t begin, std::int64_t end,
                                 std::int64_t n_queries, const float* limits);

  // IEEE binary16 to float32.
  void (*halves_to_floats)(const std::uint16_t* halves, std::int64_t n, float* floats);

  // out[r, d] = weights[code d of packed row r]; out [n_rows, dim], weights [2^bits].
  void (*look_up_weights)(const std::uint8_t* packed, std::int64_t n_rows, std::int64_t dim,
                          int bits, const float* weights, float* out);

  // row[d] = (centroid[d] + row[d]) * inverse_norm.
  void (*add_centroid)(const float* centroid, float inverse_norm, std::int64_t dim, float* row);

  // buckets[d] = number of cutoffs <= values[d] - centroid[d]; cutoffs ascend, and there are 1, 3,
  // 15 or 255.
  void (*bucketize)(const float* values, const float* centroid, std::int64_t dim,
                    const float* cutoffs, std::int64_t n_cutoffs, std::uint8_t* buckets);

  // Bytes of a query vector lie within this on both sides of zero: 63 where two products with
  // uint8 must fit 16 bits, else 127.
  int query_levels;

  // out[r, j] = sum over d of rows[r * row_bytes + d] * query vector j at d; row_bytes a multiple
  // of 4; query [columns / 32][row_bytes / 4][32][4], columns a multiple of 32.
  void (*dot_bytes)(const std::uint8_t* rows, std::int64_t n_rows, std::int64_t row_bytes,
                    const std::int8_t* query, std::int64_t columns, std::int32_t* out);

  // keys[., j] stay the `depth` highest of those present and of the n_rows new ones, descending:
  // round((tile[r, j] - biases[j]) * factors[r]), within 21 bits and a sign, over the low bits of
  // row first + r < kMostKeyRows; columns padded.
  void (*best_keys)(const std::int32_t* tile, std::int64_t n_rows, std::int64_t columns,
                    const float* factors, const std::int32_t* biases, std::int64_t first,
                    std::int64_t depth, std::int32_t* keys);

  // bytes[r, j] = the byte nearest to tile[r, j] * scales[j] * row.scale + lows[j] * row.low +
  // offsets[j], for row = rows[r].
  void (*scores_to_bytes)(const std::int32_t* tile, std::int64_t n_rows, std::int64_t columns,
                          const RowScale* rows, const ColumnScales& scales, std::uint8_t* bytes);

  // Appends (first_row + r) << 32 | j << 8 | bytes[r, j] wherever that byte is above limits[j], in
  // order; returns how many.
  std::int64_t (*collect_bytes)(const std::uint8_t* bytes, std::int64_t first_row,
                                std::int64_t n_rows, std::int64_t columns,
                                const std::uint8_t* limits, std::uint64_t* out);

  // sums[i] += gains[i], and gains[i] = 0.
  void (*add_gains)(std::uint8_t* gains, std::int64_t n, std::uint16_t* sums);

  // Appends ~words[i] << 32 | first + i for words above a limit, of those whose byte in `allowed`
  // is not zero (nullptr: of all); returns how many.
  std::int64_t (*collect_words)(const std::uint32_t* words, std::int64_t n, std::uint32_t limit,
                                const std::uint8_t* allowed, std::uint32_t first,
                                std::uint64_t* out);

  // The sum over j of the maximum over i of table[codes[i], j]; columns a multiple of 32.
  std::uint32_t (*interact_bytes)(const std::uint8_t* table, std::int64_t columns,
                                  const std::uint32_t* codes, std::int64_t n_codes);

  // out[r * row_bytes + p * packed_bytes + i] = weights[code p of packed byte i of row r], for the
  // 8 / bits codes of a byte, the lowest bits first; weights [2^bits, at least 16].
  void (*look_up_bytes)(const std::uint8_t* packed, std::int64_t n_rows,
                        std::int64_t packed_bytes, int bits, const std::uint8_t* weights,
                        std::int64_t row_bytes, std::uint8_t* out);

  // best[j] = max(best[j], (table[codes[r], j] * step + tile[r, j] * scales[j] + offsets[j]) *
  // inverse_norms[r]).
  void (*max_residual_bytes)(const std::int32_t* tile, std::int64_t n_rows, std::int64_t columns,
                             const std::uint8_t* table, float step, const std::uint32_t* codes,
                             const float* inverse_norms, const float* scales,
                             const float* offsets, float* best);

  // CRC32C of each block; the last may be shorter.
  void (*crc32c)(const std::uint8_t* bytes, std::int64_t n_bytes, std::int64_t block_bytes,
                 std::uint32_t* checksums);
};

extern const Primitives kBaseline;
#if WEFT_X86
extern const Primitives kAvx2;
extern const Primitives kAvx512;
extern const Primitives kAmx;
#endif

}  // namespace weft::cpu
