#include "cpu/coded/codec.h"

#include <algorithm>

#include "cpu/byte_rows.h"

namespace weft::cpu {
namespace {

constexpr std::size_t kMostIdle = 64;

CodedCells coded_cells(const CentroidCells& cells) {
  CodedCells coded{CodedRows(cells.centroids), {cells.offsets.begin(), cells.offsets.end()}, {}};
  for (std::int64_t c = 0; c < coded.size(); ++c) {
    const auto end = static_cast<std::size_t>(coded.offsets[static_cast<std::size_t>(c) + 1]);
    coded.cell_of.resize(end, static_cast<std::uint32_t>(c));
  }
  return coded;
}

}  // namespace

CodedRows::CodedRows(const Matrix<float>& rows)
    : width_(row_bytes(rows.columns)),
      scales_(static_cast<std::size_t>(rows.rows)),
      bytes_(std::make_unique<Buffer<std::uint8_t>>(rows.rows * width_)) {
  std::fill_n(bytes_->data(), rows.rows * width_, std::uint8_t{0});
  for (std::int64_t i = 0; i < rows.rows; ++i) {
    scales_[static_cast<std::size_t>(i)] =
        quantize_range(rows.row(i), rows.columns, bytes_->data() + i * width_);
    longest_ = std::max(longest_, norm(rows.row(i), rows.columns));
  }
}

CodedCodec::CodedCodec(const Matrix<float>& float_centroids, const Buckets& float_buckets,
                       const CentroidCells* given, const Matrix<float>* given_rotation)
    : centroids(float_centroids),
      buckets(float_buckets),
      layout(float_centroids.columns, float_buckets.bits),
      rows(float_centroids) {
  idle_.reserve(kMostIdle);  // here, since giving back must not throw
  if (given != nullptr && centroids.rows > kMostExhaustive) cells = coded_cells(*given);
  if (given_rotation != nullptr) rotation = BlockRotation(*given_rotation);
  inverse_norm_scale = {
      static_cast<float>((buckets.inverse_norm_high - buckets.inverse_norm_low) / 255.0),
      static_cast<float>(buckets.inverse_norm_low)};
  const auto n_weights = static_cast<std::int64_t>(buckets.weights.size());
  weight_scale = quantize_range(buckets.weights.data(), n_weights, weights.data());
}

// Neither waits: a child of fork() may find the mutex locked for ever.
std::unique_ptr<Memory> CodedCodec::take_memory() const {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock.owns_lock() || idle_.empty()) return std::make_unique<Memory>();
  std::unique_ptr<Memory> memory = std::move(idle_.back());
  idle_.pop_back();
  return memory;
}

void CodedCodec::give_back(std::unique_ptr<Memory> memory) const {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock.owns_lock() || idle_.size() >= kMostIdle) return;
  idle_.push_back(std::move(memory));
}

}  // namespace weft::cpu
