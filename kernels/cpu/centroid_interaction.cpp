#include "weft/centroid_interaction.h"

#include <algorithm>

#include "cpu/buffer.h"
#include "cpu/panels.h"
#include "cpu/passages.h"
#include "cpu/targets.h"
#include "cpu/thread_pool.h"

namespace weft {
namespace {

using cpu::Buffer;
using cpu::Rows;

constexpr std::int64_t kPassagesPerChunk = 64;
constexpr std::int64_t kCentroidsPerChunk = 4096;
constexpr std::int64_t kTokensAtOnce = 512;

// Which centroids' tokens take part: all, or those whose best score reaches the threshold.
class Pruning {
 public:
  Pruning(const cpu::Primitives& primitives, const Matrix<float>& scores,
          std::optional<float> threshold)
      : primitives_(primitives),
        scores_(scores),
        threshold_(threshold),
        maxima_(threshold ? scores.rows : 0) {}

  Status prepare(int threads) {
    if (!threshold_) return {};
    const cpu::Partition partition(scores_.rows, kCentroidsPerChunk, threads);
    return cpu::parallel_for(partition, [&](std::int64_t begin, std::int64_t end, int) {
      primitives_.row_maxima(scores_.row(begin), end - begin, scores_.columns,
                             maxima_.data() + begin);
      return Status();
    });
  }

  // Moves the codes that take part to the front; returns how many.
  std::int64_t keep(std::uint32_t* codes, std::int64_t n_codes) const {
    if (!threshold_) return n_codes;
    std::int64_t kept = 0;
    for (std::int64_t i = 0; i < n_codes; ++i) {
      const std::uint32_t code = codes[i];
      codes[kept] = code;
      kept += maxima_.data()[code] >= *threshold_ ? 1 : 0;
    }
    return kept;
  }

 private:
  const cpu::Primitives& primitives_;
  const Matrix<float>& scores_;
  std::optional<float> threshold_;
  Buffer<float> maxima_;
};

struct Interaction {
  const cpu::Primitives& primitives;
  const Matrix<float>& scores;
  const Codes& codes;
  const Passages& passages;
  const Pruning& pruning;

  Status score(std::int64_t i, std::int64_t columns, float* best, float* result) const {
    Rows rows;
    if (Status status = cpu::visit(passages, i, codes.size, &rows); !status.ok()) return status;
    cpu::forget_maxima(best, columns);
    for (std::int64_t t = rows.begin; t < rows.end; t += kTokensAtOnce) {
      const Rows part{t, std::min(t + kTokensAtOnce, rows.end)};
      if (Status status = add_tokens(part, best); !status.ok()) return status;
    }
    *result = cpu::sum_of_maxima(best, scores.columns);
    return {};
  }

  Status add_tokens(Rows rows, float* best) const {
    std::uint32_t copy[kTokensAtOnce];
    if (Status status = cpu::read_codes(codes, rows, scores.rows, copy); !status.ok()) {
      return status;
    }
    const std::int64_t kept = pruning.keep(copy, rows.end - rows.begin);
    primitives.max_gathered_rows(scores.data, scores.columns, copy, kept, best);
    return {};
  }
};

Status score_all(const Interaction& interaction, int threads, float* result) {
  const std::int64_t lanes = interaction.primitives.lanes;
  const std::int64_t columns = cpu::panels_for(interaction.scores.columns, lanes) * lanes;
  const cpu::Partition partition(interaction.passages.count(), kPassagesPerChunk, threads);
  Buffer<float> maxima(partition.workers, columns);
  return cpu::parallel_for(partition, [&](std::int64_t begin, std::int64_t end, int worker) {
    float* best = maxima.data() + worker * columns;
    for (std::int64_t i = begin; i < end; ++i) {
      if (Status status = interaction.score(i, columns, best, result + i); !status.ok()) {
        return status;
      }
    }
    return Status();
  });
}

}  // namespace

Status centroid_interaction(const Matrix<float>& scores, const Codes& codes,
                            const Passages& passages, std::optional<float> threshold, int threads,
                            float* result) {
  const cpu::Primitives* primitives = nullptr;
  if (Status status = cpu::active_primitives(&primitives); !status.ok()) return status;
  if (Status status = cpu::resolve_threads(threads, &threads); !status.ok()) return status;
  return cpu::without_exceptions([&] {
    Pruning pruning(*primitives, scores, threshold);
    if (Status status = pruning.prepare(threads); !status.ok()) return status;
    return score_all({*primitives, scores, codes, passages, pruning}, threads, result);
  });
}

}  // namespace weft
