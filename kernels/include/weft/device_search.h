// Search over coded segments on a GPU: what coded_search.h says, with the arrays on the device.
//
// Scores, order and ties are those of the search in bytes on a target with 127 query levels, but
// for the last bits of float32 sums that are added up in another order.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "weft/arrays.h"
#include "weft/coded_search.h"
#include "weft/status.h"

namespace weft {

namespace cuda {
class Codec;
class Segment;
}  // namespace cuda

inline constexpr std::int64_t kMaxDeviceDim = 1024;

struct DeviceDescription {
  std::string name;
  int major = 0;  // compute capability
  int minor = 0;
  int processors = 0;
  std::int64_t memory_bytes = 0;
  std::int64_t free_bytes = 0;
};

// kDeviceFailed: there is no driver, or it answers with an error.
Status count_devices(int* count);
Status describe_device(int device, DeviceDescription* description);

// Where residuals lie. The rest of a segment is always on the device.
enum class ResidualPlace : std::uint8_t {
  kAuto,    // on the device while that leaves a tenth of its memory free
  kDevice,
  kHost,    // pinned: those of the passages that are scored last are read over the bus
};

// A segment's arrays on a device. Every value is checked once, here: search reads them unchecked.
class DeviceSegment {
 public:
  DeviceSegment();
  DeviceSegment(DeviceSegment&&) noexcept;
  DeviceSegment& operator=(DeviceSegment&&) noexcept;
  ~DeviceSegment();

  // Invalid value: a code, pid, offset or list that a sound segment cannot hold.
  static Status make(int device, const CodedSegment& segment, ResidualPlace place,
                     DeviceSegment* result);

  std::int64_t n_passages() const;
  std::int64_t device_bytes() const;
  bool residuals_on_device() const;
  const std::shared_ptr<const cuda::Segment>& held() const { return segment_; }

 private:
  std::shared_ptr<const cuda::Segment> segment_;
};

// A codec on a device, and working memory that searches take turns with; each has a stream and
// its graphs. Any number of threads may search with it.
class DeviceCodec {
 public:
  DeviceCodec();
  DeviceCodec(DeviceCodec&&) noexcept;
  DeviceCodec& operator=(DeviceCodec&&) noexcept;
  ~DeviceCodec();

  // As SearchCodec::make, but dim at most kMaxDeviceDim, and nothing is kept by reference.
  static Status make(int device, const Matrix<float>& centroids, const Buckets& buckets,
                     DeviceCodec* codec);

  // What SearchCodec::search does, for several queries; one Found each. limits.threads counts for
  // nothing.
  //   segments  on the codec's device
  //   allowed   per segment [P], zero means no; nullptr allows all
  // kDeviceMemory: there is no room for the working memory of one query. kDeviceFailed: from then
  // on of every search with this codec.
  Status search(std::span<const Matrix<float>> queries,
                std::span<const DeviceSegment* const> segments,
                std::span<const std::uint8_t* const> allowed, const SearchLimits& limits,
                std::vector<Found>* found) const;

 private:
  std::unique_ptr<cuda::Codec> codec_;
};

}  // namespace weft
