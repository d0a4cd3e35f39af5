// A coded segment on a device, and several of them as one collection of places.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "cuda/body/views.h"
#include "cuda/host/runtime.h"
#include "weft/device_search.h"

namespace weft::cuda {

class Segment {
 public:
  static Status make(int device, const CodedSegment& segment, ResidualPlace place,
                     std::shared_ptr<const Segment>* result);

  // Without its place in a collection.
  const device::SegmentView& view() const { return view_; }
  int device() const { return device_; }
  std::int64_t n_passages() const { return view_.n_passages; }
  std::int64_t n_centroids() const { return n_centroids_; }
  std::int64_t packed_bytes() const { return packed_bytes_; }
  std::int64_t device_bytes() const { return device_bytes_; }
  bool residuals_on_device() const { return residuals_on_device_; }

 private:
  Status hold(const CodedSegment& segment, ResidualPlace place);
  Status hold_residuals(const Matrix<std::uint8_t>& residuals, ResidualPlace place);
  template <typename T>
  Status hold(std::span<const T> values, const T** address);

  int device_ = 0;
  Stream stream_;  // of the upload
  std::vector<Memory> memories_;
  device::SegmentView view_{};
  std::int64_t n_centroids_ = 0;
  std::int64_t packed_bytes_ = 0;
  std::int64_t device_bytes_ = 0;
  bool residuals_on_device_ = true;
};

// Segments side by side, as a search sees them.
class Collection {
 public:
  static Status make(std::span<const DeviceSegment* const> segments,
                     std::shared_ptr<const Collection>* result);

  // Whether all segments still exist.
  bool usable() const;
  bool holds(std::span<const DeviceSegment* const> segments) const;
  void fill(device::SearchView* view) const;
  std::int64_t n_places() const { return places_.back(); }
  std::int64_t n_groups() const { return static_cast<std::int64_t>(groups_.size()); }
  std::int64_t most_centroids() const;
  std::int64_t n_segments() const { return static_cast<std::int64_t>(segments_.size()); }
  // Where the segment's passages start; one more than there are segments.
  std::int64_t place(std::int64_t segment) const {
    return places_[static_cast<std::size_t>(segment)];
  }
  std::int64_t segment_of(std::int64_t place) const;

 private:
  std::vector<std::weak_ptr<const Segment>> segments_;  // a search's caller keeps them
  std::vector<std::int64_t> places_;
  std::vector<std::uint32_t> groups_;  // different numbers of centroids
  Memory views_;
  Memory group_memory_;
};

}  // namespace weft::cuda
