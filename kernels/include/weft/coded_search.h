// Search over coded segments in one call: probing, accumulation over inverted lists, centroid
// interaction, MaxSim on residuals, in bytes; the best once more in float32.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "weft/arrays.h"
#include "weft/candidates.h"
#include "weft/status.h"

namespace weft {

inline constexpr std::int64_t kMaxSearchColumns = 1023;  // query vectors; more would not fit a stamp

// Which blocks of a segment's file may be read: bytes of one checksum each.
struct Blocks {
  static constexpr std::int64_t kBytes = 65536;

  std::span<const std::uint8_t> unchecked;  // nonzero: not to be read yet; empty: all may be read
  std::int64_t codes = 0;                   // where the arrays start, in bytes
  std::int64_t residuals = 0;
  std::int64_t inverse_norms = 0;
  std::int64_t ivf_pids = 0;
};

struct CodedSegment {
  CodedTokens tokens;
  std::span<const std::int64_t> offsets;  // [P + 1], ascending within [0, n]
  InvertedLists lists;
  std::int64_t n_centroids = 0;  // that it was made with: the first of the codec's
  Blocks blocks;

  std::int64_t n_passages() const { return static_cast<std::int64_t>(offsets.size()) - 1; }
};

struct SearchedSegment {
  const CodedSegment* segment = nullptr;
  const std::uint8_t* allowed = nullptr;  // [P], zero means no; nullptr allows all
};

struct SearchLimits {
  std::int64_t nprobe = 1;        // inverted lists per query vector
  std::int64_t n_candidates = 1;  // passages kept after accumulation
  std::int64_t n_rescored = 1;    // passages kept after centroid interaction
  std::int64_t n_exact = 0;       // of these, the best are scored once more in float32
  int threads = 1;
};

struct UncheckedBlocks {
  std::uint32_t segment = 0;
  std::int64_t first = 0;
  std::int64_t end = 0;
};

struct Found {
  std::vector<std::uint32_t> segments;  // position among the searched ones
  std::vector<std::uint32_t> pids;
  std::vector<float> scores;               // best first; ties by segment and pid
  std::vector<UncheckedBlocks> unchecked;  // if any, nothing was found: check these and ask again
};

// A partition of the centroids: cell c holds [offsets[c], offsets[c + 1]).
struct CentroidCells {
  Matrix<float> centroids;                // [C, dim], of the cells
  std::span<const std::int64_t> offsets;  // [C + 1], from 0 to K, ascending
};

namespace cpu {
class CodedCodec;
}

// A codec as search wants it: centroids and bucket weights in bytes, and working memory that
// queries take turns with. Any number of threads may search with it.
class SearchCodec {
 public:
  SearchCodec();
  SearchCodec(SearchCodec&&) noexcept;
  SearchCodec& operator=(SearchCodec&&) noexcept;
  ~SearchCodec();

  // centroids  float32 [K, dim], finite, 1 <= K < 2^31, dim 1 to kMaxDim; kept by reference
  // buckets    weights are kept by reference
  // cells      copied; with more than 2^16 centroids each query vector looks only into the cells
  //            nearest to it; nullptr looks at all centroids
  // rotation   [b, b], b a divisor of dim, finite; copied. Queries are turned by it, block by block,
  //            where centroids and residuals stand turned; nullptr leaves them
  static Status make(const Matrix<float>& centroids, const Buckets& buckets,
                     const CentroidCells* cells, const Matrix<float>* rotation,
                     SearchCodec* codec);

  // The best limits.n_rescored passages, or fewer where the probed lists hold fewer. Scores of the
  // first n_exact are those of maxsim_residual; of the rest, approximations.
  //   query     float32 [nq, dim], finite, nq 1 to kMaxSearchColumns
  //   segments  n_centroids at most K; together fewer than 2^32 passages
  // Invalid value: a code, pid, offset or list that a sound segment cannot hold.
  Status search(const Matrix<float>& query, std::span<const SearchedSegment> segments,
                const SearchLimits& limits, Found* found) const;

 private:
  std::unique_ptr<cpu::CodedCodec> codec_;
};

}  // namespace weft
