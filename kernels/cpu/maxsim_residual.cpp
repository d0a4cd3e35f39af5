#include <array>

#include "cpu/inverse_norms.h"
#include "cpu/maxsim.h"
#include "cpu/targets.h"
#include "weft/maxsim.h"

namespace weft {
namespace {

// A block's residuals become weights in the first-level cache and meet the query there; the
// centroid's share of each score is looked up.
struct ResidualTokens {
  const cpu::Primitives& primitives;
  const Matrix<float>& scores;
  const CodedTokens& tokens;
  const Buckets& buckets;
  std::int64_t dim;
  std::array<float, 256> norm_values;

  std::int64_t size() const { return tokens.codes.size; }

  Status update(cpu::Rows block, const cpu::Panels& query, cpu::MaxsimScratch& scratch) const {
    const std::int64_t n_rows = block.end - block.begin;
    std::uint32_t codes[cpu::kTokensPerBlock];
    if (Status status = cpu::read_codes(tokens.codes, block, scores.rows, codes); !status.ok()) {
      return status;
    }
    float inverse_norms[cpu::kTokensPerBlock];
    for (std::int64_t r = 0; r < n_rows; ++r) {
      const auto token = static_cast<std::size_t>(block.begin + r);
      inverse_norms[r] = norm_values[tokens.inverse_norms[token]];
    }
    primitives.look_up_weights(tokens.residuals.row(block.begin), n_rows, dim, buckets.bits,
                               buckets.weights.data(), scratch.rows.data());
    primitives.dot(scratch.rows.data(), n_rows, dim, query.data(), query.count(),
                   scratch.tile.data());
    primitives.max_residual_rows(scratch.tile.data(), n_rows, scores.data, scores.columns, codes,
                                 inverse_norms, scratch.best.data());
    return {};
  }
};

}  // namespace

Status maxsim_residual(const Matrix<float>& query, const Matrix<float>& scores,
                       const CodedTokens& tokens, const Buckets& buckets,
                       const Passages& passages, int threads, float* result) {
  const cpu::Primitives* primitives = nullptr;
  if (Status status = cpu::active_primitives(&primitives); !status.ok()) return status;
  if (Status status = cpu::resolve_threads(threads, &threads); !status.ok()) return status;
  return cpu::without_exceptions([&] {
    const ResidualTokens coded{*primitives,   scores,        tokens, buckets,
                               query.columns, cpu::inverse_norm_values(buckets)};
    return cpu::maxsim_passages(*primitives, query, passages, coded, threads, result);
  });
}

}  // namespace weft
