#include "weft/sum_rows.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "cpu/buffer.h"
#include "cpu/targets.h"
#include "cpu/thread_pool.h"

namespace weft {
namespace {

using cpu::Buffer;

constexpr std::int64_t kGroupsPerChunk = 16;
constexpr std::size_t kRowsAhead = 8;  // members lie anywhere: they are asked for well before
constexpr std::int64_t kLineBytes = 64;

// Row numbers by group, each group's in ascending order.
struct Members {
  Members(std::int64_t n_rows, std::int64_t n_groups)
      : starts(static_cast<std::size_t>(n_groups) + 1), rows(n_rows) {}

  Status fill(const Codes& groups) {
    const auto n_groups = static_cast<std::int64_t>(starts.size()) - 1;
    for (std::int64_t i = 0; i < groups.size; ++i) {
      if (groups[i] >= n_groups) {
        return Status::invalid_value("groups: " + std::to_string(groups[i]) + " is not below " +
                                     std::to_string(n_groups));
      }
      ++starts[groups[i] + std::size_t{1}];
    }
    for (std::size_t g = 1; g < starts.size(); ++g) starts[g] += starts[g - 1];
    std::vector<std::int64_t> next(starts);
    for (std::int64_t i = 0; i < groups.size; ++i) {
      rows[next[groups[i]]++] = static_cast<std::uint32_t>(i);
    }
    return {};
  }

  std::vector<std::int64_t> starts;
  Buffer<std::uint32_t> rows;
};

struct Scratch {
  explicit Scratch(std::int64_t dim) : row(dim), sums(dim) {}

  Buffer<float> row;
  Buffer<double> sums;
};

const float* floats(const cpu::Primitives& primitives, const Embeddings& rows, std::int64_t i,
                    Scratch& scratch) {
  if (rows.floats != nullptr) return rows.floats + i * rows.dim;
  primitives.halves_to_floats(rows.halves + i * rows.dim, rows.dim, scratch.row.data());
  return scratch.row.data();
}

void prefetch(const Embeddings& rows, std::int64_t i) {
  const bool narrow = rows.halves != nullptr;
  const std::int64_t n_bytes = rows.dim * (narrow ? 2 : 4);
  const auto* row = narrow ? reinterpret_cast<const char*>(rows.halves + i * rows.dim)
                           : reinterpret_cast<const char*>(rows.floats + i * rows.dim);
  for (std::int64_t b = 0; b < n_bytes; b += kLineBytes) __builtin_prefetch(row + b);
}

void sum_group(const cpu::Primitives& primitives, const Embeddings& rows,
               std::span<const std::uint32_t> members, Scratch& scratch, float* sums) {
  double* totals = scratch.sums.data();
  std::fill_n(totals, rows.dim, 0.0);
  for (std::size_t m = 0; m < members.size(); ++m) {
    if (m + kRowsAhead < members.size()) prefetch(rows, members[m + kRowsAhead]);
    const float* row = floats(primitives, rows, members[m], scratch);
    for (std::int64_t d = 0; d < rows.dim; ++d) totals[d] += double{row[d]};
  }
  for (std::int64_t d = 0; d < rows.dim; ++d) sums[d] = static_cast<float>(totals[d]);
}

Status sum_groups(const cpu::Primitives& primitives, const Embeddings& rows, const Codes& groups,
                  std::int64_t n_groups, int threads, float* sums) {
  Members members(rows.rows, n_groups);
  if (Status status = members.fill(groups); !status.ok()) return status;
  const cpu::Partition partition(n_groups, kGroupsPerChunk, threads);
  std::vector<Scratch> scratches;
  for (int w = 0; w < partition.workers; ++w) scratches.emplace_back(rows.dim);
  return cpu::parallel_for(partition, [&](std::int64_t begin, std::int64_t end, int worker) {
    for (std::int64_t g = begin; g < end; ++g) {
      const std::int64_t start = members.starts[static_cast<std::size_t>(g)];
      const std::int64_t stop = members.starts[static_cast<std::size_t>(g) + 1];
      sum_group(primitives, rows,
                {members.rows.data() + start, static_cast<std::size_t>(stop - start)},
                scratches[static_cast<std::size_t>(worker)], sums + g * rows.dim);
    }
    return Status();
  });
}

}  // namespace

Status sum_rows(const Embeddings& rows, const Codes& groups, std::int64_t n_groups, int threads,
                float* sums) {
  const cpu::Primitives* primitives = nullptr;
  if (Status status = cpu::active_primitives(&primitives); !status.ok()) return status;
  if (Status status = cpu::resolve_threads(threads, &threads); !status.ok()) return status;
  return cpu::without_exceptions(
      [&] { return sum_groups(*primitives, rows, groups, n_groups, threads, sums); });
}

}  // namespace weft
