#include "cuda/host/codec.h"

#include <unistd.h>

#include <algorithm>
#include <cstddef>

#include "cpu/byte_rows.h"

namespace weft::cuda {
namespace {

constexpr std::size_t kBatch = 32;  // queries at once, at most
constexpr std::size_t kMostCollections = 4;

// Each possible byte of packed codes as the bytes of its weights.
std::vector<std::uint64_t> weights_of_bytes(int bits, const std::uint8_t* weights) {
  std::vector<std::uint64_t> table(256);
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    for (int i = 0; i < 8 / bits; ++i) {
      const std::uint32_t code = byte >> (i * bits) & ((1U << bits) - 1U);
      table[byte] |= std::uint64_t{weights[code]} << (i * 8);
    }
  }
  return table;
}

std::int64_t count_allowed(const Collection& collection, Masks allowed) {
  std::int64_t count = 0;
  for (std::int64_t s = 0; s < collection.n_segments(); ++s) {
    const std::uint8_t* flags = allowed[static_cast<std::size_t>(s)];
    const std::int64_t n = collection.place(s + 1) - collection.place(s);
    count += flags == nullptr ? n : n - std::count(flags, flags + n, std::uint8_t{0});
  }
  return count;
}

// Never more of anything than there can be, so that memory is not asked for in vain. One probe
// more than there are centroids says that the worst of them is not all there is to lose.
Shape shape_of(const Collection& collection, Masks allowed, const SearchLimits& limits) {
  Shape shape;
  const std::int64_t n = std::max<std::int64_t>(collection.n_places(), 1);
  shape.nprobe = std::min(limits.nprobe, collection.most_centroids() + 1);
  shape.n_candidates = std::min(limits.n_candidates, n);
  shape.n_rescored = std::min(limits.n_rescored, shape.n_candidates);
  shape.n_exact = std::min(limits.n_exact, shape.n_rescored);
  shape.filtered = std::any_of(allowed.begin(), allowed.end(),
                               [](const std::uint8_t* mask) { return mask != nullptr; });
  shape.all = count_allowed(collection, allowed) <= limits.n_candidates;
  return shape;
}

}  // namespace

Status Codec::make(int device, const Matrix<float>& centroids, const Buckets& buckets,
                   std::unique_ptr<Codec>* result) {
  if (Status status = use_device(device); !status.ok()) return status;
  auto made = std::make_unique<Codec>();
  made->device_ = device;
  made->process_ = getpid();
  Status status = load_search_kernels();
  if (status.ok()) status = Stream::make(&made->stream_);
  if (status.ok()) status = made->hold(centroids, buckets);
  if (status.ok()) *result = std::move(made);
  return status;
}

template <typename T>
Status Codec::hold(const std::vector<T>& values, const T** address) {
  const auto bytes = static_cast<std::int64_t>(values.size() * sizeof(T));
  Memory memory;
  if (Status status = Memory::on_device(bytes, &memory); !status.ok()) return status;
  *address = memory.as<const T>();
  Status status = stream_.copy_in(memory.as<T>(), values.data(), bytes);
  if (status.ok()) status = stream_.wait();  // the values go when the caller returns
  memories_.push_back(std::move(memory));
  return status;
}

Status Codec::hold(const Matrix<float>& centroids, const Buckets& buckets) {
  const std::int64_t n = centroids.rows;
  const std::int64_t dim = centroids.columns;
  const std::int64_t rows = device::padded_to(n, device::kGroup);
  const std::int64_t steps = (dim + device::kTileBytes - 1) / device::kTileBytes;
  std::vector<std::uint8_t> tiles(
      static_cast<std::size_t>(rows * steps * device::kTileBytes));
  std::vector<device::Scale> scales(static_cast<std::size_t>(rows));
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(dim));
  for (std::int64_t i = 0; i < n; ++i) {
    const cpu::RowScale scale = cpu::quantize_range(centroids.row(i), dim, bytes.data());
    scales[static_cast<std::size_t>(i)] = {scale.scale, scale.low};
    for (std::int64_t d = 0; d < dim; ++d) {
      tiles[static_cast<std::size_t>(device::tile_place(i, d, steps))] =
          bytes[static_cast<std::size_t>(d)];
    }
    view_.longest = std::max(view_.longest, cpu::norm(centroids.row(i), dim));
  }
  std::uint8_t weights[256] = {};
  const auto n_weights = static_cast<std::int64_t>(buckets.weights.size());
  const cpu::RowScale scale = cpu::quantize_range(buckets.weights.data(), n_weights, weights);
  view_.weight_scale = {scale.scale, scale.low};
  view_.inverse_norm_scale = {
      static_cast<float>((buckets.inverse_norm_high - buckets.inverse_norm_low) / 255.0),
      static_cast<float>(buckets.inverse_norm_low)};
  view_.n_centroids = static_cast<std::uint32_t>(n);
  view_.dim = static_cast<std::uint32_t>(dim);
  view_.steps = static_cast<std::uint32_t>(steps);
  view_.bits = buckets.bits;
  view_.packed_bytes = static_cast<std::uint32_t>((dim * buckets.bits + 7) / 8);
  const std::vector<float> floats(centroids.data, centroids.data + n * dim);
  const std::vector<float> levels(buckets.weights.begin(), buckets.weights.end());
  Status status = hold(tiles, &view_.centroid_tiles);
  if (status.ok()) status = hold(scales, &view_.row_scales);
  if (status.ok()) status = hold(floats, &view_.centroids);
  if (status.ok()) status = hold(levels, &view_.weights);
  if (status.ok()) status = hold(weights_of_bytes(buckets.bits, weights), &view_.weight_bytes);
  return status;
}

Status Codec::check(std::span<const Matrix<float>> queries, Segments segments,
                    const SearchLimits& limits) const {
  for (const Matrix<float>& query : queries) {
    if (query.rows < 1 || query.rows > kMaxSearchColumns) {
      return Status::invalid_value("query: expected 1 to " + std::to_string(kMaxSearchColumns) +
                                   " vectors, got " + std::to_string(query.rows));
    }
    if (query.columns == view_.dim) continue;
    return Status::invalid_value("query: expected " + std::to_string(view_.dim) +
                                 " components, as centroids have, got " +
                                 std::to_string(query.columns));
  }
  if (limits.nprobe < 1 || limits.n_candidates < 1 || limits.n_rescored < 1 ||
      limits.n_exact < 0) {
    return Status::invalid_value("limits: nprobe, n_candidates and n_rescored must be above 0");
  }
  for (const DeviceSegment* held : segments) {
    const Segment& segment = *held->held();
    if (segment.device() != device_) {
      return Status::invalid_value("segments: one lies on another device than the codec");
    }
    if (segment.n_centroids() > view_.n_centroids) {
      return Status::invalid_value("n_centroids: " + std::to_string(segment.n_centroids()) +
                                   " is not within the codec's " +
                                   std::to_string(view_.n_centroids));
    }
    if (segment.packed_bytes() != view_.packed_bytes) {
      return Status::invalid_value("residuals: rows of " +
                                   std::to_string(segment.packed_bytes()) +
                                   " bytes do not fit the codec");
    }
  }
  return {};
}

Status Codec::search(std::span<const Matrix<float>> queries, Segments segments, Masks allowed,
                     const SearchLimits& limits, Found* found) {
  // A child of fork() has no part in its parent's use of the device.
  if (getpid() != process_) {
    return Status::device_failed("this process was forked from one that had opened the device");
  }
  if (Status status = check(queries, segments, limits); !status.ok()) return status;
  if (segments.empty() || queries.empty()) return {};
  if (Status status = remember(use_device(device_)); !status.ok()) return status;
  std::shared_ptr<const Collection> collection;
  if (Status status = remember(collect(segments, &collection)); !status.ok()) return status;
  Shape shape = shape_of(*collection, allowed, limits);
  for (std::size_t first = 0; first < queries.size(); first += kBatch) {
    const auto some = queries.subspan(first, std::min(kBatch, queries.size() - first));
    std::int64_t most = 1;
    for (const Matrix<float>& query : some) most = std::max(most, query.rows);
    shape.columns = device::padded_to(most, device::kGroup);
    Status status = remember(search_together(some, collection, shape, allowed, found + first));
    if (!status.ok()) return status;
  }
  return {};
}

Status Codec::search_together(std::span<const Matrix<float>> queries,
                              const std::shared_ptr<const Collection>& collection, Shape shape,
                              Masks allowed, Found* found) {
  for (shape.n_queries = 1; shape.n_queries < static_cast<std::int64_t>(queries.size());) {
    shape.n_queries *= 2;
  }
  bool alone = false;
  while (true) {
    std::unique_ptr<Workspace> workspace;
    Status status = take(alone, &workspace);
    if (status.ok()) {
      // Without exceptions, or the turn would never be given back.
      status = without_exceptions([&] {
        return workspace->search(view_, collection, shape, queries, allowed, found);
      });
      const bool usable = status.ok() || status.code() == StatusCode::kInvalidValue;
      give_back(alone, std::move(workspace), usable);
    }
    if (status.code() != StatusCode::kDeviceMemory || alone) return status;
    if (drop_idle()) continue;
    if (queries.size() > 1) break;
    alone = true;  // what was missing may be what others have
  }
  const std::size_t half = queries.size() / 2;
  Status status = search_together(queries.first(half), collection, shape, allowed, found);
  if (!status.ok()) return status;
  return search_together(queries.subspan(half), collection, shape, allowed, found + half);
}

Status Codec::collect(Segments segments, std::shared_ptr<const Collection>* collection) {
  const std::lock_guard lock(mutex_);
  collections_.remove_if([](const auto& one) { return !one->usable(); });
  const auto found = std::find_if(collections_.begin(), collections_.end(),
                                  [&](const auto& one) { return one->holds(segments); });
  if (found != collections_.end()) {
    collections_.splice(collections_.begin(), collections_, found);
    *collection = collections_.front();
    return {};
  }
  if (Status status = Collection::make(segments, collection); !status.ok()) return status;
  if (collections_.size() >= kMostCollections) collections_.pop_back();
  collections_.push_front(*collection);
  return {};
}

Status Codec::take(bool alone, std::unique_ptr<Workspace>* workspace) {
  {
    std::unique_lock lock(mutex_);
    if (alone) {
      ++n_alone_;
      given_back_.wait(lock, [&] { return n_busy_ == 0; });
      idle_.clear();
    } else {
      given_back_.wait(lock, [&] { return n_alone_ == 0; });
    }
    ++n_busy_;
    if (!idle_.empty()) {
      *workspace = std::move(idle_.back());
      idle_.pop_back();
    }
  }
  Status status = failed();
  if (status.ok() && !*workspace) {
    status = without_exceptions([&] { return Workspace::make(workspace); });
  }
  if (!status.ok()) give_back(alone, std::move(*workspace), false);
  return status;
}

void Codec::give_back(bool alone, std::unique_ptr<Workspace> workspace, bool usable) {
  if (!usable) workspace.reset();  // before anybody counts on its memory
  {
    const std::lock_guard lock(mutex_);
    --n_busy_;
    if (alone) --n_alone_;
    if (usable) {
      (void)without_exceptions([&] {
        idle_.push_back(std::move(workspace));
        return Status();
      });
    }
  }
  given_back_.notify_all();
}

bool Codec::drop_idle() {
  const std::lock_guard lock(mutex_);
  if (idle_.empty()) return false;
  idle_.clear();
  return true;
}

Status Codec::failed() {
  const std::lock_guard lock(mutex_);
  return failure_.empty() ? Status() : Status::device_failed(failure_);
}

Status Codec::remember(Status status) {
  if (status.code() != StatusCode::kDeviceFailed) return status;
  const std::lock_guard lock(mutex_);
  if (failure_.empty()) failure_ = status.message();
  return status;
}

}  // namespace weft::cuda

namespace weft {

DeviceCodec::DeviceCodec() = default;
DeviceCodec::DeviceCodec(DeviceCodec&&) noexcept = default;
DeviceCodec& DeviceCodec::operator=(DeviceCodec&&) noexcept = default;
DeviceCodec::~DeviceCodec() = default;

Status DeviceCodec::make(int device, const Matrix<float>& centroids, const Buckets& buckets,
                         DeviceCodec* codec) {
  if (centroids.rows < 1 || centroids.rows >= std::int64_t{1} << 31) {
    return Status::invalid_value("centroids: expected 1 to 2147483647, got " +
                                 std::to_string(centroids.rows));
  }
  if (centroids.columns > kMaxDeviceDim) {
    return Status::invalid_value("centroids: a device takes dim up to " +
                                 std::to_string(kMaxDeviceDim) + ", got " +
                                 std::to_string(centroids.columns));
  }
  return cuda::without_exceptions(
      [&] { return cuda::Codec::make(device, centroids, buckets, &codec->codec_); });
}

Status DeviceCodec::search(std::span<const Matrix<float>> queries,
                           std::span<const DeviceSegment* const> segments,
                           std::span<const std::uint8_t* const> allowed,
                           const SearchLimits& limits, std::vector<Found>* found) const {
  return cuda::without_exceptions([&] {
    found->assign(queries.size(), Found());
    return codec_->search(queries, segments, allowed, limits, found->data());
  });
}

DeviceSegment::DeviceSegment() = default;
DeviceSegment::DeviceSegment(DeviceSegment&&) noexcept = default;
DeviceSegment& DeviceSegment::operator=(DeviceSegment&&) noexcept = default;
DeviceSegment::~DeviceSegment() = default;

Status DeviceSegment::make(int device, const CodedSegment& segment, ResidualPlace place,
                           DeviceSegment* result) {
  return cuda::without_exceptions(
      [&] { return cuda::Segment::make(device, segment, place, &result->segment_); });
}

std::int64_t DeviceSegment::n_passages() const { return segment_->n_passages(); }
std::int64_t DeviceSegment::device_bytes() const { return segment_->device_bytes(); }
bool DeviceSegment::residuals_on_device() const { return segment_->residuals_on_device(); }

Status count_devices(int* count) { return cuda::count_devices(count); }

Status describe_device(int device, DeviceDescription* description) {
  cuda::DeviceFacts facts;
  if (Status status = cuda::read_facts(device, &facts); !status.ok()) return status;
  *description = {facts.name,       facts.major,        facts.minor,
                  facts.processors, facts.memory_bytes, facts.free_bytes};
  return {};
}

}  // namespace weft
