#include "cpu/maxsim.h"

#include "cpu/targets.h"
#include "weft/maxsim.h"

namespace weft {
namespace {

// Embeddings as they are, or widened from float16 a block at a time.
struct DenseTokens {
  const cpu::Primitives& primitives;
  const Embeddings& embeddings;

  std::int64_t size() const { return embeddings.rows; }

  Status update(cpu::Rows block, const cpu::Panels& query, cpu::MaxsimScratch& scratch) const {
    const std::int64_t n_rows = block.end - block.begin;
    primitives.dot(floats(block, scratch), n_rows, embeddings.dim, query.data(), query.count(),
                   scratch.tile.data());
    primitives.max_rows(scratch.tile.data(), n_rows, query.columns(), scratch.best.data());
    return {};
  }

  const float* floats(cpu::Rows block, cpu::MaxsimScratch& scratch) const {
    const std::int64_t start = block.begin * embeddings.dim;
    if (embeddings.floats != nullptr) return embeddings.floats + start;
    const std::int64_t size = (block.end - block.begin) * embeddings.dim;
    primitives.halves_to_floats(embeddings.halves + start, size, scratch.rows.data());
    return scratch.rows.data();
  }
};

}  // namespace

Status maxsim(const Matrix<float>& query, const Embeddings& embeddings, const Passages& passages,
              int threads, float* result) {
  const cpu::Primitives* primitives = nullptr;
  if (Status status = cpu::active_primitives(&primitives); !status.ok()) return status;
  if (Status status = cpu::resolve_threads(threads, &threads); !status.ok()) return status;
  return cpu::without_exceptions([&] {
    const DenseTokens tokens{*primitives, embeddings};
    return cpu::maxsim_passages(*primitives, query, passages, tokens, threads, result);
  });
}

}  // namespace weft
