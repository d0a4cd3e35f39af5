#include "cpu/coded/codec.h"

#include <algorithm>
#include <cmath>

namespace weft::cpu {
namespace {

constexpr float kLevels = 255;
constexpr std::size_t kMostIdle = 64;

// What byte 0 stands for and how much a step is; never zero or infinite.
RowScale scale_of(const float* values, std::int64_t n) {
  const auto [low, high] = std::minmax_element(values, values + n);
  const float step = *high / kLevels - *low / kLevels;
  return {step > 0 ? step : 1.0F, *low};
}

std::uint8_t byte_of(float value, const RowScale& scale) {
  const float place = (value / scale.scale) - (scale.low / scale.scale);
  return static_cast<std::uint8_t>(std::clamp(std::nearbyint(place), 0.0F, kLevels));
}

}  // namespace

CodedCodec::CodedCodec(const Matrix<float>& float_centroids, const Buckets& float_buckets)
    : centroids(float_centroids),
      buckets(float_buckets),
      layout(float_centroids.columns, float_buckets.bits),
      row_scales(static_cast<std::size_t>(float_centroids.rows)),
      bytes_(float_centroids.rows, padded(float_centroids.columns, 4)) {
  idle_.reserve(kMostIdle);  // here, since giving back must not throw
  std::fill_n(bytes_.data(), centroids.rows * row_bytes(), std::uint8_t{0});
  for (std::int64_t i = 0; i < centroids.rows; ++i) quantize_row(i);
  inverse_norm_scale = {
      static_cast<float>((buckets.inverse_norm_high - buckets.inverse_norm_low) / 255.0),
      static_cast<float>(buckets.inverse_norm_low)};
  const auto n_weights = static_cast<std::int64_t>(buckets.weights.size());
  weight_scale = scale_of(buckets.weights.data(), n_weights);
  for (std::size_t b = 0; b < buckets.weights.size(); ++b) {
    weights[b] = byte_of(buckets.weights[b], weight_scale);
  }
}

void CodedCodec::quantize_row(std::int64_t i) {
  const float* values = centroids.row(i);
  const RowScale scale = scale_of(values, dim());
  std::uint8_t* target = bytes_.data() + i * row_bytes();
  double square = 0;
  for (std::int64_t d = 0; d < dim(); ++d) {
    target[d] = byte_of(values[d], scale);
    square += double{values[d]} * values[d];
  }
  row_scales[static_cast<std::size_t>(i)] = scale;
  longest = std::max(longest, static_cast<float>(std::sqrt(square)));
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
