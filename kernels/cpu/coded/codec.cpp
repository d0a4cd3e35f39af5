#include "cpu/coded/codec.h"

#include <algorithm>

#include "cpu/byte_rows.h"

namespace weft::cpu {
namespace {

constexpr std::size_t kMostIdle = 64;

}  // namespace

CodedCodec::CodedCodec(const Matrix<float>& float_centroids, const Buckets& float_buckets)
    : centroids(float_centroids),
      buckets(float_buckets),
      layout(float_centroids.columns, float_buckets.bits),
      row_scales(static_cast<std::size_t>(float_centroids.rows)),
      bytes_(float_centroids.rows, cpu::row_bytes(float_centroids.columns)) {
  idle_.reserve(kMostIdle);  // here, since giving back must not throw
  std::fill_n(bytes_.data(), centroids.rows * row_bytes(), std::uint8_t{0});
  for (std::int64_t i = 0; i < centroids.rows; ++i) quantize_row(i);
  inverse_norm_scale = {
      static_cast<float>((buckets.inverse_norm_high - buckets.inverse_norm_low) / 255.0),
      static_cast<float>(buckets.inverse_norm_low)};
  const auto n_weights = static_cast<std::int64_t>(buckets.weights.size());
  weight_scale = quantize_range(buckets.weights.data(), n_weights, weights.data());
}

void CodedCodec::quantize_row(std::int64_t i) {
  const float* values = centroids.row(i);
  row_scales[static_cast<std::size_t>(i)] =
      quantize_range(values, dim(), bytes_.data() + i * row_bytes());
  longest = std::max(longest, norm(values, dim()));
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
