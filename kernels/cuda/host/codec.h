// A codec on a device, with the workspaces that searches take turns with.
#pragma once

#include <sys/types.h>

#include <condition_variable>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "cuda/body/views.h"
#include "cuda/host/runtime.h"
#include "cuda/host/segment.h"
#include "cuda/host/workspace.h"
#include "weft/device_search.h"

namespace weft::cuda {

using Segments = std::span<const DeviceSegment* const>;
using Masks = std::span<const std::uint8_t* const>;

class Codec {
 public:
  static Status make(int device, const Matrix<float>& centroids, const Buckets& buckets,
                     std::unique_ptr<Codec>* result);

  Status search(std::span<const Matrix<float>> queries, Segments segments, Masks allowed,
                const SearchLimits& limits, Found* found);

 private:
  Status hold(const Matrix<float>& centroids, const Buckets& buckets);
  template <typename T>
  Status hold(const std::vector<T>& values, const T** address);

  Status check(std::span<const Matrix<float>> queries, Segments segments,
               const SearchLimits& limits) const;
  Status collect(Segments segments, std::shared_ptr<const Collection>* collection);
  // Those queries at once, or fewer at a time where memory is short.
  Status search_together(std::span<const Matrix<float>> queries,
                         const std::shared_ptr<const Collection>& collection, Shape shape,
                         Masks allowed, Found* found);

  // `alone`: waits until no other workspace has memory, and nobody else is given one meanwhile.
  Status take(bool alone, std::unique_ptr<Workspace>* workspace);
  void give_back(bool alone, std::unique_ptr<Workspace> workspace, bool usable);
  // Whether memory that nobody used is free now.
  bool drop_idle();
  Status failed();
  Status remember(Status status);

  int device_ = 0;
  pid_t process_ = 0;
  Stream stream_;
  std::vector<Memory> memories_;
  device::CodecView view_{};

  std::mutex mutex_;
  std::condition_variable given_back_;
  std::vector<std::unique_ptr<Workspace>> idle_;
  std::int64_t n_busy_ = 0;
  std::int64_t n_alone_ = 0;  // searches that are alone, or wait to be
  std::list<std::shared_ptr<const Collection>> collections_;  // the last used first
  std::string failure_;                                       // not empty once the device failed
};

}  // namespace weft::cuda
