#include "weft/squared_lengths.h"

#include <vector>

#include "cpu/buffer.h"
#include "cpu/fixed_dot.h"
#include "cpu/targets.h"
#include "cpu/thread_pool.h"

namespace weft {
namespace {

using cpu::Buffer;

constexpr std::int64_t kRowsPerChunk = 512;

Status measure_rows(const cpu::Primitives& primitives, const Embeddings& rows, int threads,
                    float* lengths) {
  const cpu::Partition partition(rows.rows, kRowsPerChunk, threads);
  std::vector<Buffer<float>> copies;
  for (int w = 0; w < partition.workers; ++w) copies.emplace_back(rows.dim);
  return cpu::parallel_for(partition, [&](std::int64_t begin, std::int64_t end, int worker) {
    float* copy = copies[static_cast<std::size_t>(worker)].data();
    for (std::int64_t i = begin; i < end; ++i) {
      const float* row = copy;
      if (rows.floats != nullptr) row = rows.floats + i * rows.dim;
      if (rows.floats == nullptr) {
        primitives.halves_to_floats(rows.halves + i * rows.dim, rows.dim, copy);
      }
      lengths[i] = cpu::fixed_dot(row, row, rows.dim);
    }
    return Status();
  });
}

}  // namespace

Status squared_lengths(const Embeddings& rows, int threads, float* lengths) {
  const cpu::Primitives* primitives = nullptr;
  if (Status status = cpu::active_primitives(&primitives); !status.ok()) return status;
  if (Status status = cpu::resolve_threads(threads, &threads); !status.ok()) return status;
  return cpu::without_exceptions(
      [&] { return measure_rows(*primitives, rows, threads, lengths); });
}

}  // namespace weft
