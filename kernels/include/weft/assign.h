// The nearest centroid of each embedding.
#pragma once

#include <memory>
#include <span>

#include "weft/arrays.h"
#include "weft/status.h"

namespace weft {

// codes[i] = the k with the highest dot(embeddings[i], centroids[k]), the lowest in a tie, and
// scores[i] that product. The n x K matrix is never stored.
//   embeddings  float32 or float16 [n, dim], dim 1 to kMaxDim; invalid value: holds NaN or
//               infinity
//   centroids   float32 [K, dim], 1 <= K < 2^32; a NaN never wins; invalid value: an embedding
//               has no finite best score
//   threads     0 (default) to kMaxThreads
//   codes       uint32 [n]
//   scores      float32 [n]
Status assign(const Embeddings& embeddings, const Matrix<float>& centroids, int threads,
              std::uint32_t* codes, float* scores);

// The partition of centroids into cells: cell c owns centroids offsets[c] to offsets[c + 1].
struct Cells {
  Matrix<float> centroids;                // [C, dim], C at least 1
  std::span<const std::int64_t> offsets;  // [C + 1]
};

namespace cpu {
struct PreparedCells;
}

// Centroids and cells in bytes, for one assignment after the other. Any number of threads may
// assign by it.
class CellIndex {
 public:
  CellIndex();
  CellIndex(CellIndex&&) noexcept;
  CellIndex& operator=(CellIndex&&) noexcept;
  ~CellIndex();

  // As `assign_cells` takes them; kept by reference.
  static Status make(const Matrix<float>& centroids, const Cells& cells, int threads,
                     CellIndex* index);

  // What `assign_cells` does; not before `make`.
  Status assign(const Embeddings& embeddings, std::int64_t probes, int threads,
                std::uint32_t* codes, float* scores) const;

 private:
  std::unique_ptr<cpu::PreparedCells> prepared_;
};

// Two levels: the best centroid of an embedding among those of its `probes` nearest cells. Cells
// and centroids are compared in bytes, the two best of each cell once more in float32 where the
// bytes leave room for doubt. An embedding's result does not depend on its neighbours.
//   embeddings  float32 or float16 [n, dim]; invalid value: holds NaN or infinity
//   centroids   float32 [K, dim], finite, 1 <= K < 2^32; invalid value: a product overflows
//   cells       finite; invalid value: the offsets do not ascend strictly from 0 to K
//   probes      at least 1; at most C count
//   codes       uint32 [n]; scores float32 [n], the same bits on every target for one code
Status assign_cells(const Embeddings& embeddings, const Matrix<float>& centroids,
                    const Cells& cells, std::int64_t probes, int threads, std::uint32_t* codes,
                    float* scores);

}  // namespace weft
