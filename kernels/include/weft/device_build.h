// What building an index asks of a GPU: assignment, compression, k-means.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "weft/arrays.h"
#include "weft/device_search.h"
#include "weft/status.h"

namespace weft {

namespace cuda {
class Builder;
}

// Centroids on a device. One thread at a time.
class DeviceBuilder {
 public:
  DeviceBuilder();
  DeviceBuilder(DeviceBuilder&&) noexcept;
  DeviceBuilder& operator=(DeviceBuilder&&) noexcept;
  ~DeviceBuilder();

  // centroids float32 [K, dim], finite, 1 <= K < 2^31, dim 1 to kMaxDeviceDim; copied.
  static Status make(int device, const Matrix<float>& centroids, DeviceBuilder* builder);

  // What `assign` does. Products are compared in bfloat16 and the two best once more in float32: a
  // centroid is missed where two others are better after rounding, or one of the sixteen that a
  // thread compares with it at a time. What is lost is no more than 2^-7 * |embedding| * |centroid|
  // and as a rule far less.
  Status assign(const Embeddings& embeddings, std::uint32_t* codes, float* scores);

  // What `compress` does, the same bytes; codes below K.
  Status compress(const Embeddings& embeddings, const std::uint32_t* codes,
                  std::span<const float> cutoffs, const Buckets& buckets,
                  std::uint8_t* residuals, std::uint8_t* inverse_norms);

  // Spherical k-means from the centroids on, which change: each becomes the direction of the sum of
  // the embeddings assigned to it, and stays where there are none. Components within [-2, 2].
  // Sums are exact: the same bits in every run.
  Status refine(const Embeddings& embeddings, int iterations);

  // centroids float32 [K, dim], as they are now.
  Status read(float* centroids);

 private:
  std::unique_ptr<cuda::Builder> builder_;
};

}  // namespace weft
