#include "weft/centroid_scores.h"

#include <algorithm>

#include "cpu/best.h"
#include "cpu/panels.h"
#include "cpu/targets.h"
#include "cpu/thread_pool.h"

namespace weft {
namespace {

using cpu::Buffer;

constexpr std::int64_t kRowsPerTile = 64;
constexpr std::int64_t kRowsPerChunk = 512;

// Whole panels go straight to the caller; otherwise by way of a tile, less its padding.
class ScoreWriter {
 public:
  ScoreWriter(const cpu::Primitives& primitives, const Matrix<float>& centroids,
              const cpu::Panels& panels, std::int64_t n_queries, float* scores)
      : primitives_(primitives),
        centroids_(centroids),
        panels_(panels),
        n_queries_(n_queries),
        scores_(scores) {}

  void write(std::int64_t begin, std::int64_t end, float* tile) const {
    const bool whole = panels_.columns() == n_queries_;
    float* target = whole ? scores_ + begin * n_queries_ : tile;
    primitives_.dot(centroids_.row(begin), end - begin, centroids_.columns, panels_.data(),
                    panels_.count(), target);
    for (std::int64_t r = begin; !whole && r < end; ++r) {
      std::copy_n(tile + (r - begin) * panels_.columns(), n_queries_, scores_ + r * n_queries_);
    }
  }

 private:
  const cpu::Primitives& primitives_;
  const Matrix<float>& centroids_;
  const cpu::Panels& panels_;
  std::int64_t n_queries_;
  float* scores_;
};

Status score_all(const cpu::Primitives& primitives, const Matrix<float>& centroids,
                 const Matrix<float>& query, int threads, float* scores) {
  const cpu::Panels panels(query, primitives.lanes);
  const ScoreWriter writer(primitives, centroids, panels, query.rows, scores);
  const cpu::Partition partition(centroids.rows, kRowsPerChunk, threads);
  const std::int64_t tile_size = kRowsPerTile * panels.columns();
  Buffer<float> tiles(partition.workers, tile_size);
  return cpu::parallel_for(partition, [&](std::int64_t begin, std::int64_t end, int worker) {
    for (std::int64_t r = begin; r < end; r += kRowsPerTile) {
      writer.write(r, std::min(r + kRowsPerTile, end), tiles.data() + worker * tile_size);
    }
    return Status();
  });
}

}  // namespace

Status centroid_scores(const Matrix<float>& centroids, const Matrix<float>& query, int threads,
                       float* scores) {
  const cpu::Primitives* primitives = nullptr;
  if (Status status = cpu::active_primitives(&primitives); !status.ok()) return status;
  if (Status status = cpu::resolve_threads(threads, &threads); !status.ok()) return status;
  return cpu::without_exceptions(
      [&] { return score_all(*primitives, centroids, query, threads, scores); });
}

Status top_centroids(const Matrix<float>& scores, std::int64_t nprobe, std::uint32_t* best) {
  const cpu::Primitives* primitives = nullptr;
  if (Status status = cpu::active_primitives(&primitives); !status.ok()) return status;
  return cpu::without_exceptions([&] { return cpu::best_rows(*primitives, scores, nprobe, best); });
}

}  // namespace weft
