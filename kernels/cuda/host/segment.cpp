#include "cuda/host/segment.h"

#include <algorithm>
#include <limits>
#include <string>

namespace weft::cuda {
namespace {

constexpr std::int64_t kFreeShare = 10;  // a tenth of the device's memory stays for searches

Status refuse(const char* name, std::int64_t at, const char* what) {
  return Status::invalid_value(std::string(name) + ": number " + std::to_string(at) + " " + what);
}

template <typename T>
Status check_below(const char* name, const T* values, std::int64_t n, std::int64_t limit) {
  for (std::int64_t i = 0; i < n; ++i) {
    if (std::int64_t{values[i]} >= limit) {
      return refuse(name, i, ("is not below " + std::to_string(limit)).c_str());
    }
  }
  return {};
}

Status check_offsets(const char* name, std::span<const std::int64_t> offsets, std::int64_t end) {
  std::int64_t before = 0;
  for (std::size_t i = 0; i < offsets.size(); ++i) {
    if (offsets[i] < before || offsets[i] > end) {
      return refuse(name, static_cast<std::int64_t>(i), "does not ascend within the array");
    }
    before = offsets[i];
  }
  return {};
}

Status check_values(const CodedSegment& segment) {
  const Codes& codes = segment.tokens.codes;
  const std::int64_t n_passages = segment.n_passages();
  if (n_passages >= std::numeric_limits<std::uint32_t>::max()) {
    return Status::invalid_value("offsets: too many passages for one search");
  }
  const std::int64_t n_lists = static_cast<std::int64_t>(segment.lists.offsets.size()) - 1;
  const auto n_pids = static_cast<std::int64_t>(segment.lists.pids.size());
  Status status = check_offsets("offsets", segment.offsets, codes.size);
  if (status.ok()) status = check_offsets("ivf_offsets", segment.lists.offsets, n_pids);
  if (status.ok()) {
    status = check_below("ivf_pids", segment.lists.pids.data(), n_pids, n_passages);
  }
  if (status.ok() && segment.lists.dense && n_lists < segment.n_centroids) {
    return Status::invalid_value("ivf_offsets: expected a list per centroid");
  }
  if (!status.ok()) return status;
  return codes.narrow != nullptr
             ? check_below("codes", codes.narrow, codes.size, segment.n_centroids)
             : check_below("codes", codes.wide, codes.size, segment.n_centroids);
}

}  // namespace

Status Segment::make(int device, const CodedSegment& segment, ResidualPlace place,
                     std::shared_ptr<const Segment>* result) {
  if (Status status = check_values(segment); !status.ok()) return status;
  if (Status status = use_device(device); !status.ok()) return status;
  auto made = std::make_shared<Segment>();
  made->device_ = device;
  if (Status status = Stream::make(&made->stream_); !status.ok()) return status;
  if (Status status = made->hold(segment, place); !status.ok()) return status;
  if (Status status = made->stream_.wait(); !status.ok()) return status;
  *result = std::move(made);
  return {};
}

template <typename T>
Status Segment::hold(std::span<const T> values, const T** address) {
  const auto bytes = static_cast<std::int64_t>(values.size_bytes());
  Memory memory;
  if (Status status = Memory::on_device(bytes, &memory); !status.ok()) return status;
  *address = memory.as<const T>();
  device_bytes_ += bytes;
  Status status = stream_.copy_in(memory.as<T>(), values.data(), bytes);
  memories_.push_back(std::move(memory));
  return status;
}

Status Segment::hold(const CodedSegment& segment, ResidualPlace place) {
  const Codes& codes = segment.tokens.codes;
  const auto n = static_cast<std::size_t>(codes.size);
  n_centroids_ = segment.n_centroids;
  packed_bytes_ = segment.tokens.residuals.columns;
  view_.n_passages = static_cast<std::uint32_t>(segment.n_passages());
  view_.n_lists = static_cast<std::uint32_t>(segment.lists.offsets.size() - 1);
  Status status = codes.narrow != nullptr
                      ? hold(std::span<const std::uint16_t>(codes.narrow, n), &view_.narrow)
                      : hold(std::span<const std::uint32_t>(codes.wide, n), &view_.wide);
  if (status.ok()) status = hold(segment.tokens.inverse_norms, &view_.inverse_norms);
  if (status.ok()) status = hold(segment.offsets, &view_.offsets);
  if (status.ok()) status = hold(segment.lists.offsets, &view_.list_offsets);
  if (status.ok()) status = hold(segment.lists.pids, &view_.pids);
  if (status.ok() && !segment.lists.dense) {
    status = hold(segment.lists.numbers, &view_.list_numbers);
  }
  return status.ok() ? hold_residuals(segment.tokens.residuals, place) : status;
}

Status Segment::hold_residuals(const Matrix<std::uint8_t>& residuals, ResidualPlace place) {
  const std::int64_t bytes = residuals.rows * residuals.columns;
  DeviceFacts facts;
  if (Status status = read_facts(device_, &facts); !status.ok()) return status;
  const bool fits = facts.free_bytes - bytes >= facts.memory_bytes / kFreeShare;
  Status status;
  if (place == ResidualPlace::kDevice || (place == ResidualPlace::kAuto && fits)) {
    const std::span<const std::uint8_t> all(residuals.data, static_cast<std::size_t>(bytes));
    status = hold(all, &view_.residuals);
    const bool full = status.code() == StatusCode::kDeviceMemory;
    if (place == ResidualPlace::kDevice || !full) return status;
  }
  Memory memory;
  if (status = Memory::pinned(bytes, &memory); !status.ok()) return status;
  std::copy_n(residuals.data, bytes, memory.as<std::uint8_t>());
  view_.residuals = memory.as<const std::uint8_t>();
  residuals_on_device_ = false;
  memories_.push_back(std::move(memory));
  return {};
}

Status Collection::make(std::span<const DeviceSegment* const> segments,
                        std::shared_ptr<const Collection>* result) {
  auto made = std::make_shared<Collection>();
  std::vector<device::SegmentView> views;
  made->places_.push_back(0);
  for (const DeviceSegment* held : segments) {
    const std::shared_ptr<const Segment>& segment = held->held();
    made->segments_.push_back(segment);
    device::SegmentView view = segment->view();
    view.first_place = static_cast<std::uint32_t>(made->places_.back());
    const auto centroids = static_cast<std::uint32_t>(segment->n_centroids());
    auto group = std::find(made->groups_.begin(), made->groups_.end(), centroids);
    view.group = static_cast<std::uint32_t>(group - made->groups_.begin());
    if (group == made->groups_.end()) made->groups_.push_back(centroids);
    views.push_back(view);
    made->places_.push_back(made->places_.back() + segment->n_passages());
  }
  if (made->places_.back() >= std::numeric_limits<std::uint32_t>::max()) {
    return Status::invalid_value("segments: too many passages for one search");
  }
  const auto view_bytes = static_cast<std::int64_t>(views.size() * sizeof(device::SegmentView));
  const auto group_bytes = static_cast<std::int64_t>(made->groups_.size() * sizeof(std::uint32_t));
  Stream stream;
  Status status = Stream::make(&stream);
  if (status.ok()) status = Memory::on_device(view_bytes, &made->views_);
  if (status.ok()) status = Memory::on_device(group_bytes, &made->group_memory_);
  if (status.ok()) status = stream.copy_in(made->views_.as<void>(), views.data(), view_bytes);
  if (status.ok()) {
    status = stream.copy_in(made->group_memory_.as<void>(), made->groups_.data(), group_bytes);
  }
  if (status.ok()) status = stream.wait();
  if (status.ok()) *result = std::move(made);
  return status;
}

bool Collection::usable() const {
  return std::none_of(segments_.begin(), segments_.end(),
                      [](const auto& segment) { return segment.expired(); });
}

bool Collection::holds(std::span<const DeviceSegment* const> segments) const {
  return std::equal(segments.begin(), segments.end(), segments_.begin(), segments_.end(),
                    [](const DeviceSegment* left, const auto& right) {
                      return left->held() == right.lock();
                    });
}

std::int64_t Collection::most_centroids() const {
  return *std::max_element(groups_.begin(), groups_.end());
}

std::int64_t Collection::segment_of(std::int64_t place) const {
  return std::upper_bound(places_.begin(), places_.end(), place) - places_.begin() - 1;
}

void Collection::fill(device::SearchView* view) const {
  view->segments = views_.as<const device::SegmentView>();
  view->group_centroids = group_memory_.as<const std::uint32_t>();
  view->n_segments = static_cast<std::uint32_t>(segments_.size());
  view->n_groups = static_cast<std::uint32_t>(groups_.size());
  view->n_places = static_cast<std::uint32_t>(places_.back());
}

}  // namespace weft::cuda
