#include "weft/assign.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "cpu/finite.h"
#include "cpu/panels.h"
#include "cpu/targets.h"
#include "cpu/thread_pool.h"

namespace weft {
namespace {

using cpu::Buffer;

constexpr std::int64_t kCentroidsPerTile = 32;
constexpr std::int64_t kPanelBytes = 256 * 1024;  // of a second-level cache of 512 KiB or more
constexpr std::int64_t kEmbeddingsAtLeast = 48;

// A block of embeddings as panels, and the best centroid of each so far. Centroids stream past:
// each is read once per block.
class Block {
 public:
  Block(std::int64_t n_embeddings, std::int64_t dim)
      : panels_(n_embeddings, dim),
        floats_(n_embeddings, dim),
        tile_(kCentroidsPerTile, n_embeddings),
        best_(n_embeddings),
        numbers_(n_embeddings) {}

  void assign(const cpu::Primitives& primitives, const float* embeddings, std::int64_t n_embeddings,
              const Matrix<float>& centroids) {
    const std::int64_t dim = centroids.columns;
    const std::int64_t n_panels = cpu::panels_for(n_embeddings, primitives.lanes);
    const std::int64_t columns = n_panels * primitives.lanes;
    cpu::write_panels(embeddings, n_embeddings, dim, primitives.lanes, panels_.data());
    std::fill_n(best_.data(), columns, -std::numeric_limits<float>::infinity());
    std::fill_n(numbers_.data(), columns, 0U);
    for (std::int64_t k = 0; k < centroids.rows; k += kCentroidsPerTile) {
      const std::int64_t n_rows = std::min(kCentroidsPerTile, centroids.rows - k);
      primitives.dot(centroids.row(k), n_rows, dim, panels_.data(), n_panels, tile_.data());
      primitives.argmax_rows(tile_.data(), n_rows, columns, static_cast<std::uint32_t>(k),
                             best_.data(), numbers_.data());
    }
  }

  // Rows as floats; valid until the next call.
  const float* read(const cpu::Primitives& primitives, const Embeddings& embeddings,
                    std::int64_t begin, std::int64_t end) {
    const std::int64_t dim = embeddings.dim;
    if (embeddings.floats != nullptr) return embeddings.floats + begin * dim;
    primitives.halves_to_floats(embeddings.halves + begin * dim, (end - begin) * dim,
                                floats_.data());
    return floats_.data();
  }

  float best(std::int64_t i) const { return best_.data()[i]; }
  std::uint32_t number(std::int64_t i) const { return numbers_.data()[i]; }

 private:
  Buffer<float> panels_;
  Buffer<float> floats_;
  Buffer<float> tile_;
  Buffer<float> best_;
  Buffer<std::uint32_t> numbers_;
};

// A multiple of every target's register tiles, as large as the cache allows.
std::int64_t embeddings_per_block(std::int64_t dim) {
  const std::int64_t fitting = kPanelBytes / (dim * static_cast<std::int64_t>(sizeof(float)));
  return std::max(fitting / kEmbeddingsAtLeast, std::int64_t{1}) * kEmbeddingsAtLeast;
}

Status assign_block(const cpu::Primitives& primitives, const Embeddings& embeddings,
                    const Matrix<float>& centroids, std::int64_t begin, std::int64_t end,
                    Block& block, std::uint32_t* codes, float* scores) {
  const float* rows = block.read(primitives, embeddings, begin, end);
  if (!cpu::all_finite(rows, (end - begin) * embeddings.dim)) {
    return Status::invalid_value("embeddings: holds NaN or infinity");
  }
  block.assign(primitives, rows, end - begin, centroids);
  for (std::int64_t i = begin; i < end; ++i) {
    codes[i] = block.number(i - begin);
    scores[i] = block.best(i - begin);
    if (!std::isfinite(scores[i])) {
      return Status::invalid_value("centroids: no finite best score for embedding " +
                                   std::to_string(i) + "; they hold NaN, infinity or overflow");
    }
  }
  return {};
}

Status assign_all(const cpu::Primitives& primitives, const Embeddings& embeddings,
                  const Matrix<float>& centroids, int threads, std::uint32_t* codes,
                  float* scores) {
  const std::int64_t size = embeddings_per_block(embeddings.dim);
  const cpu::Partition partition(embeddings.rows, size, threads);
  std::vector<Block> blocks;
  for (int w = 0; w < partition.workers; ++w) blocks.emplace_back(size, embeddings.dim);
  return cpu::parallel_for(partition, [&](std::int64_t begin, std::int64_t end, int worker) {
    return assign_block(primitives, embeddings, centroids, begin, end,
                        blocks[static_cast<std::size_t>(worker)], codes, scores);
  });
}

}  // namespace

Status assign(const Embeddings& embeddings, const Matrix<float>& centroids, int threads,
              std::uint32_t* codes, float* scores) {
  const cpu::Primitives* primitives = nullptr;
  if (Status status = cpu::active_primitives(&primitives); !status.ok()) return status;
  if (Status status = cpu::resolve_threads(threads, &threads); !status.ok()) return status;
  return cpu::without_exceptions(
      [&] { return assign_all(*primitives, embeddings, centroids, threads, codes, scores); });
}

}  // namespace weft
