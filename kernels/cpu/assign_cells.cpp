#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "cpu/byte_panel.h"
#include "cpu/byte_rows.h"
#include "cpu/finite.h"
#include "cpu/fixed_dot.h"
#include "cpu/targets.h"
#include "cpu/thread_pool.h"
#include "weft/assign.h"

namespace weft {

namespace cpu {

// What does not depend on embeddings.
struct PreparedCells {
  PreparedCells(const Matrix<float>& all, const Cells& partition, int query_levels, int threads)
      : centroids(all),
        cells(partition),
        levels(query_levels),
        cell_bytes(partition.centroids, query_levels, threads),
        centroid_bytes(all, query_levels, threads) {}

  Matrix<float> centroids;
  Cells cells;
  int levels;
  ByteRows cell_bytes;
  ByteRows centroid_bytes;
};

}  // namespace cpu

namespace {

using cpu::Buffer;
using cpu::PreparedCells;
using cpu::Scored;

constexpr std::int64_t kColumns = cpu::kBytePanelColumns;
constexpr std::int64_t kBestOfCell = 4;   // centroids of a cell that bytes may not tell apart
constexpr std::int64_t kMostInDoubt = 4;  // and of all cells of a row
constexpr std::int64_t kRowsAhead = 8;    // whose centroids are asked for before they are compared
constexpr std::int64_t kLineFloats = 16;
constexpr std::int64_t kMostInBlock = 8192;
constexpr std::int64_t kBlockComponents = std::int64_t{1} << 20;
constexpr std::int64_t kVisitsOfCell = 192;  // wanted per block, so that few panels have gaps

// What all blocks share.
struct Assignment {
  const cpu::Primitives& primitives;
  const Embeddings& embeddings;
  const PreparedCells& prepared;
  std::int64_t probes;
  std::int64_t block_rows;

  std::int64_t n_cells() const { return prepared.cells.centroids.rows; }
  const Matrix<float>& centroids() const { return prepared.centroids; }
};

// A block of embeddings: each visits its cells, cell after cell.
class Block {
 public:
  explicit Block(const Assignment& shared)
      : shared_(shared),
        dim_(shared.embeddings.dim),
        width_(shared.prepared.centroid_bytes.width),
        floats_(shared.embeddings.halves != nullptr ? shared.block_rows : 0, dim_),
        bytes_(shared.block_rows, width_),
        steps_(shared.block_rows),
        probed_(shared.block_rows, shared.probes),
        visits_(shared.block_rows, shared.probes),
        found_(shared.block_rows, kMostInDoubt),
        bounds_(static_cast<std::size_t>(shared.n_cells()) + 1),
        panel_(shared.primitives, width_, std::max(shared.probes, kBestOfCell)) {}

  Status assign(std::int64_t begin, std::int64_t end, std::uint32_t* codes, float* scores) {
    begin_ = begin;
    n_ = end - begin;
    if (!read()) return Status::invalid_value("embeddings: holds NaN or infinity");
    probe_cells();
    order_visits();
    std::fill_n(found_.data(), n_ * kMostInDoubt, Scored{cpu::kNoScore, 0});
    for (std::int64_t cell = 0; cell < shared_.n_cells(); ++cell) visit(cell);
    for (std::int64_t i = 0; i < n_; ++i) {
      if (i + kRowsAhead < n_) prefetch_best(i + kRowsAhead);
      decide(i, codes + begin + i, scores + begin + i);
      if (!std::isfinite(scores[begin + i])) {
        return Status::invalid_value("centroids: the product with embedding " +
                                     std::to_string(begin + i) + " overflows");
      }
    }
    return {};
  }

 private:
  bool read() {
    const Embeddings& embeddings = shared_.embeddings;
    if (embeddings.halves != nullptr) {
      shared_.primitives.halves_to_floats(embeddings.halves + begin_ * dim_, n_ * dim_,
                                          floats_.data());
    }
    if (!cpu::all_finite(row(0), n_ * dim_)) return false;
    for (std::int64_t i = 0; i < n_; ++i) {
      steps_[i] =
          cpu::quantize(row(i), dim_, shared_.primitives.query_levels, 0, bytes_.data() + i * width_);
    }
    return true;
  }

  const float* row(std::int64_t i) const {
    const Embeddings& embeddings = shared_.embeddings;
    if (embeddings.halves != nullptr) return floats_.data() + i * dim_;
    return embeddings.floats + (begin_ + i) * dim_;
  }

  void probe_cells() {
    for (std::int64_t first = 0; first < n_; first += kColumns) {
      const std::int64_t columns = std::min(kColumns, n_ - first);
      const auto row_of = [&](std::int64_t j) { return first + j; };
      panel_.fill(bytes_.data(), steps_.data(), row_of, columns);
      panel_.find(shared_.prepared.cell_bytes, 0, shared_.n_cells(), shared_.probes);
      for (std::int64_t j = 0; j < columns; ++j) {
        for (std::int64_t p = 0; p < shared_.probes; ++p) {
          probed_[(first + j) * shared_.probes + p] = panel_.best(p, j).number;
        }
      }
    }
  }

  // A counting sort: bounds_[c] to bounds_[c + 1] are the visits of cell c, in order of rows.
  void order_visits() {
    std::fill(bounds_.begin(), bounds_.end(), 0);
    const std::int64_t n_visits = n_ * shared_.probes;
    for (std::int64_t v = 0; v < n_visits; ++v) ++bounds_[probed_[v]];
    std::int64_t start = 0;
    for (std::int64_t& bound : bounds_) start += std::exchange(bound, start);
    for (std::int64_t v = 0; v < n_visits; ++v) {
      visits_[bounds_[probed_[v]]++] = static_cast<std::uint32_t>(v);
    }
    for (std::size_t c = bounds_.size() - 1; c > 0; --c) bounds_[c] = bounds_[c - 1];
    bounds_[0] = 0;
  }

  void visit(std::int64_t cell) {
    const auto c = static_cast<std::size_t>(cell);
    const auto probes = static_cast<std::uint32_t>(shared_.probes);
    const auto offsets = shared_.prepared.cells.offsets;
    for (std::int64_t first = bounds_[c]; first < bounds_[c + 1]; first += kColumns) {
      const std::int64_t columns = std::min(kColumns, bounds_[c + 1] - first);
      const std::uint32_t* visits = visits_.data() + first;
      const auto row_of = [&](std::int64_t j) { return std::int64_t{visits[j] / probes}; };
      panel_.fill(bytes_.data(), steps_.data(), row_of, columns);
      panel_.find(shared_.prepared.centroid_bytes, offsets[c], offsets[c + 1], kBestOfCell);
      for (std::int64_t j = 0; j < columns; ++j) {
        keep(found_.data() + row_of(j) * kMostInDoubt, j);
      }
    }
  }

  // Enters the best of a cell among the best of a row's cells so far, which stay in order.
  void keep(Scored* found, std::int64_t column) const {
    for (std::int64_t place = 0; place < kBestOfCell; ++place) {
      Scored entry = panel_.best(place, column);
      if (entry.score <= found[kMostInDoubt - 1].score) return;
      for (std::int64_t f = 0; f < kMostInDoubt; ++f) {
        if (entry.score > found[f].score) std::swap(entry, found[f]);
      }
    }
  }

  // What rounding may have changed: several times its standard deviation on either side.
  std::int32_t doubt(std::int64_t i) const {
    const float units = shared_.prepared.centroid_bytes.longest + steps_.data()[i].length;
    return static_cast<std::int32_t>(shared_.prepared.centroid_bytes.scale * units) + 1;
  }

  void prefetch_best(std::int64_t i) const {
    const float* centroid = shared_.centroids().row(found_.data()[i * kMostInDoubt].number);
    for (std::int64_t d = 0; d < dim_; d += kLineFloats) __builtin_prefetch(centroid + d);
  }

  void decide(std::int64_t i, std::uint32_t* code, float* score) const {
    const Scored* found = found_.data() + i * kMostInDoubt;
    const std::int32_t least = found[0].score - doubt(i);
    *score = -std::numeric_limits<float>::infinity();
    for (std::int64_t f = 0; f < kMostInDoubt && found[f].score >= least; ++f) {
      const std::uint32_t number = found[f].number;
      const float exact = cpu::fixed_dot(row(i), shared_.centroids().row(number), dim_);
      if (!(exact > *score || (exact == *score && number < *code))) continue;
      *score = exact;
      *code = number;
    }
  }

  const Assignment& shared_;
  std::int64_t dim_;
  std::int64_t width_;
  Buffer<float> floats_;
  Buffer<std::uint8_t> bytes_;
  Buffer<cpu::Steps> steps_;
  Buffer<std::uint32_t> probed_;  // [rows, probes]
  Buffer<std::uint32_t> visits_;  // places in probed_, by cell
  Buffer<Scored> found_;          // [rows, kMostInDoubt], best first
  std::vector<std::int64_t> bounds_;
  cpu::BytePanel panel_;
  std::int64_t begin_ = 0;
  std::int64_t n_ = 0;
};

Status check_offsets(std::span<const std::int64_t> offsets, std::int64_t n_centroids) {
  bool ascending = offsets.front() == 0 && offsets.back() == n_centroids;
  for (std::size_t c = 1; c < offsets.size(); ++c) ascending &= offsets[c - 1] < offsets[c];
  if (ascending) return {};
  return Status::invalid_value("cell_offsets: do not cut " + std::to_string(n_centroids) +
                               " centroids into cells that hold some each");
}

// As many as give each cell whole panels of visits, within memory.
std::int64_t rows_per_block(std::int64_t n_cells, std::int64_t probes, std::int64_t dim) {
  const std::int64_t wanted = kVisitsOfCell * n_cells / probes;
  const std::int64_t fitting = std::min(kMostInBlock, kBlockComponents / std::max(dim, 8 * probes));
  return std::max(std::min(wanted, fitting), 2 * kColumns) / kColumns * kColumns;
}

Status assign_blocks(const Assignment& shared, int threads, std::uint32_t* codes, float* scores) {
  const cpu::Partition partition(shared.embeddings.rows, shared.block_rows, threads);
  std::vector<Block> blocks;
  blocks.reserve(static_cast<std::size_t>(partition.workers));
  for (int w = 0; w < partition.workers; ++w) blocks.emplace_back(shared);
  return cpu::parallel_for(partition, [&](std::int64_t begin, std::int64_t end, int worker) {
    return blocks[static_cast<std::size_t>(worker)].assign(begin, end, codes, scores);
  });
}

}  // namespace

CellIndex::CellIndex() = default;
CellIndex::CellIndex(CellIndex&&) noexcept = default;
CellIndex& CellIndex::operator=(CellIndex&&) noexcept = default;
CellIndex::~CellIndex() = default;

Status CellIndex::make(const Matrix<float>& centroids, const Cells& cells, int threads,
                       CellIndex* index) {
  const cpu::Primitives* primitives = nullptr;
  if (Status status = cpu::active_primitives(&primitives); !status.ok()) return status;
  if (Status status = cpu::resolve_threads(threads, &threads); !status.ok()) return status;
  if (Status status = check_offsets(cells.offsets, centroids.rows); !status.ok()) return status;
  return cpu::without_exceptions([&] {
    const int levels = primitives->query_levels;
    index->prepared_ = std::make_unique<PreparedCells>(centroids, cells, levels, threads);
    return Status();
  });
}

Status CellIndex::assign(const Embeddings& embeddings, std::int64_t probes, int threads,
                         std::uint32_t* codes, float* scores) const {
  const cpu::Primitives* primitives = nullptr;
  if (Status status = cpu::active_primitives(&primitives); !status.ok()) return status;
  if (Status status = cpu::resolve_threads(threads, &threads); !status.ok()) return status;
  if (primitives->query_levels != prepared_->levels) {  // another target was chosen meanwhile
    return assign_cells(embeddings, prepared_->centroids, prepared_->cells, probes, threads, codes,
                        scores);
  }
  return cpu::without_exceptions([&] {
    const std::int64_t n_cells = prepared_->cells.centroids.rows;
    const std::int64_t used = std::min(probes, n_cells);
    const std::int64_t rows = rows_per_block(n_cells, used, embeddings.dim);
    const Assignment shared{*primitives, embeddings, *prepared_, used, rows};
    return assign_blocks(shared, threads, codes, scores);
  });
}

Status assign_cells(const Embeddings& embeddings, const Matrix<float>& centroids,
                    const Cells& cells, std::int64_t probes, int threads, std::uint32_t* codes,
                    float* scores) {
  CellIndex index;
  if (Status status = CellIndex::make(centroids, cells, threads, &index); !status.ok()) {
    return status;
  }
  return index.assign(embeddings, probes, threads, codes, scores);
}

}  // namespace weft
