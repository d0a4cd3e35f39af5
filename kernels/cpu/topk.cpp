#include "weft/topk.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "cpu/best.h"
#include "cpu/buffer.h"
#include "cpu/panels.h"
#include "cpu/targets.h"

namespace weft {
namespace cpu {
namespace {

// A score and its row as one integer: a higher score is a higher key, and so is a lower row where
// scores are equal.
using Key = std::uint64_t;

Key make_key(float score, std::int64_t row) {
  const auto bits = std::bit_cast<std::uint32_t>(score + 0.0F);  // -0 becomes 0
  const std::uint32_t ordered = (bits >> 31) != 0 ? ~bits : bits | 0x80000000U;
  return static_cast<Key>(ordered) << 32 | ~static_cast<std::uint32_t>(row);
}

std::uint32_t row_of(Key key) { return ~static_cast<std::uint32_t>(key); }

float score_of(Key key) {
  const auto ordered = static_cast<std::uint32_t>(key >> 32);
  return std::bit_cast<float>((ordered >> 31) != 0 ? ordered & 0x7FFFFFFFU : ~ordered);
}

// The best keys of each column so far, each column a heap with its worst key on top. Rows must
// come in ascending order: a later row needs a score above the worst one's to get in.
class BestKeys {
 public:
  BestKeys(std::int64_t columns, std::int64_t padded_columns, std::int64_t k)
      : k_(static_cast<std::size_t>(k)),
        heaps_(static_cast<std::size_t>(columns)),
        limits_(padded_columns) {
    std::fill_n(limits_.data(), padded_columns, std::numeric_limits<float>::infinity());
    for (auto& heap : heaps_) heap.reserve(k_);
  }

  const float* limits() const { return limits_.data(); }

  // The first k rows get in whatever their scores.
  void fill(std::size_t column, float score, std::int64_t row) {
    std::vector<Key>& heap = heaps_[column];
    heap.push_back(make_key(score, row));
    if (heap.size() == k_) std::make_heap(heap.begin(), heap.end(), std::greater<>());
    if (heap.size() == k_) update_limit(column);
  }

  void replace_worst(std::size_t column, float score, std::int64_t row) {
    std::vector<Key>& heap = heaps_[column];
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    heap.back() = make_key(score, row);
    std::push_heap(heap.begin(), heap.end(), std::greater<>());
    update_limit(column);
  }

  void write(std::uint32_t* best) {
    for (std::vector<Key>& heap : heaps_) {
      std::sort(heap.begin(), heap.end(), std::greater<>());
      best = std::transform(heap.begin(), heap.end(), best, row_of);
    }
  }

 private:
  void update_limit(std::size_t column) {
    limits_[static_cast<std::int64_t>(column)] = score_of(heaps_[column].front());
  }

  std::size_t k_;
  std::vector<std::vector<Key>> heaps_;
  Buffer<float> limits_;
};

Status holds_nan() { return Status::invalid_value("scores: holds NaN"); }

Status fill_from(const Matrix<float>& scores, std::int64_t n_rows, BestKeys& keys) {
  for (std::int64_t r = 0; r < n_rows; ++r) {
    for (std::int64_t j = 0; j < scores.columns; ++j) {
      if (std::isnan(scores.row(r)[j])) return holds_nan();
      keys.fill(static_cast<std::size_t>(j), scores.row(r)[j], r);
    }
  }
  return {};
}

Status improve_with(const Matrix<float>& scores, std::int64_t row, BestKeys& keys) {
  for (std::int64_t j = 0; j < scores.columns; ++j) {
    const float score = scores.row(row)[j];
    if (std::isnan(score)) return holds_nan();
    if (score > keys.limits()[j]) keys.replace_worst(static_cast<std::size_t>(j), score, row);
  }
  return {};
}

}  // namespace

Status best_rows(const Primitives& primitives, const Matrix<float>& scores, std::int64_t k,
                 std::uint32_t* best) {
  const std::int64_t padded = panels_for(scores.columns, primitives.lanes) * primitives.lanes;
  BestKeys keys(scores.columns, padded, k);
  if (Status status = fill_from(scores, k, keys); !status.ok()) return status;
  for (std::int64_t r = k; r < scores.rows; ++r) {
    r = primitives.find_row_above(scores.data, r, scores.rows, scores.columns, keys.limits());
    if (r == scores.rows) break;
    if (Status status = improve_with(scores, r, keys); !status.ok()) return status;
  }
  keys.write(best);
  return {};
}

}  // namespace cpu

// A list of scores is a matrix of one column.
Status topk(std::span<const float> scores, std::int64_t k, std::uint32_t* best) {
  const cpu::Primitives* primitives = nullptr;
  if (Status status = cpu::active_primitives(&primitives); !status.ok()) return status;
  const Matrix<float> column{scores.data(), static_cast<std::int64_t>(scores.size()), 1};
  return cpu::without_exceptions([&] { return cpu::best_rows(*primitives, column, k, best); });
}

}  // namespace weft
