// Centroids on a device, and the embeddings that pass them a chunk at a time.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "cuda/body/assign.h"
#include "cuda/host/runtime.h"
#include "weft/device_build.h"

namespace weft::cuda {

class Builder {
 public:
  static Status make(int device, const Matrix<float>& centroids, std::unique_ptr<Builder>* result);

  Status assign(const Embeddings& embeddings, std::uint32_t* codes, float* scores);
  Status compress(const Embeddings& embeddings, const std::uint32_t* codes,
                  std::span<const float> cutoffs, const Buckets& buckets,
                  std::uint8_t* residuals, std::uint8_t* inverse_norms);
  Status refine(const Embeddings& embeddings, int iterations);
  Status read(float* centroids);

  // The same, once nothing that failed half way is on its way to or from the caller's memory.
  Status settled(Status status);

 private:
  // What is done with the rows from `first` on, which are on the device.
  using Work = std::function<Status(const device::RowsView& rows, std::int64_t first)>;

  Status begin();
  Status begin(const Embeddings& embeddings);
  Status for_chunks(const Embeddings& embeddings, const Work& work);
  Status tile_centroids();
  // Fills codes_ and scores_.
  Status assign_chunk(const device::RowsView& rows);
  Status outcome();
  template <typename T>
  Status reserve(Memory* memory, std::int64_t n);

  int device_ = 0;
  pid_t process_ = 0;
  std::int64_t n_centroids_ = 0;
  std::int64_t dim_ = 0;
  std::uint32_t parts_ = 0;
  Stream stream_;
  Memory centroids_;
  Memory centroid_tiles_;
  Memory failed_;
  Memory rows_;
  Memory row_tiles_;
  Memory found_;
  Memory codes_;
  Memory scores_;
  Memory tables_;  // cutoffs, then weights
  Memory residuals_;
  Memory inverse_norms_;
  Memory sums_;
  Memory counts_;
};

}  // namespace weft::cuda
