// Search on a device for Python. The contracts stand in kernels/cuda_search.py.
#include "bindings/device_search.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "bindings/arguments.h"
#include "weft/device_search.h"

namespace weft::bindings {
namespace {

constexpr std::int64_t kMostDevices = 1024;

ResidualPlace place_of(const std::string& name) {
  if (name == "auto") return ResidualPlace::kAuto;
  if (name == "device") return ResidualPlace::kDevice;
  if (name == "host") return ResidualPlace::kHost;
  raise_value("residuals_on: must be 'auto', 'device' or 'host', got '" + name + "'");
}

int device_of(std::int64_t device) {
  return static_cast<int>(in_range("device", device, 0, kMostDevices));
}

// The arrays are copied: none is kept.
class PyDeviceSegment {
 public:
  PyDeviceSegment(nb::handle codes_object, nb::handle residuals_object,
                  nb::handle norms_object, nb::handle ivf_centroids,
                  nb::handle ivf_offsets_object, nb::handle ivf_pids_object,
                  nb::handle offsets_object, std::int64_t n_centroids, std::int64_t device,
                  const std::string& residuals_on) {
    const Array codes = take_codes(codes_object);
    const Array residuals = Array::take<std::uint8_t>("residuals", residuals_object, 2);
    const Array norms = Array::take<std::uint8_t>("inverse_norms", norms_object, 1);
    const Array ivf_offsets = Array::take<std::int64_t>("ivf_offsets", ivf_offsets_object, 1);
    const Array ivf_pids = Array::take<std::uint32_t>("ivf_pids", ivf_pids_object, 1);
    const Array offsets = Array::take<std::int64_t>("offsets", offsets_object, 1);
    residuals.require_length(0, codes.size(), "rows, one per code");
    norms.require_length(0, codes.size(), "bytes, one per code");
    if (offsets.size() < 1) raise_value("offsets: expected at least one");
    CodedSegment segment;
    segment.n_centroids = in_range("n_centroids", n_centroids, 1, kMostNumbers);
    std::optional<Array> numbers;
    if (!ivf_centroids.is_none()) {
      numbers = Array::take<std::uint32_t>("ivf_centroids", ivf_centroids, 1);
      segment.lists.numbers = list<std::uint32_t>(*numbers);
      const auto all = segment.lists.numbers;
      if (std::adjacent_find(all.begin(), all.end(), std::greater_equal<>()) != all.end()) {
        raise_value("ivf_centroids: must be strictly increasing");
      }
    }
    const std::int64_t n_lists = numbers ? numbers->size() : n_centroids;
    ivf_offsets.require_length(0, n_lists + 1, "offsets, one more than inverted lists");
    segment.tokens = {codes_of(codes), matrix<std::uint8_t>(residuals), list<std::uint8_t>(norms)};
    segment.offsets = list<std::int64_t>(offsets);
    segment.lists.dense = !numbers;
    segment.lists.offsets = list<std::int64_t>(ivf_offsets);
    segment.lists.pids = list<std::uint32_t>(ivf_pids);
    const ResidualPlace place = place_of(residuals_on);
    const int number = device_of(device);
    run([&] { return DeviceSegment::make(number, segment, place, &segment_); });
  }

  const DeviceSegment& held() const { return segment_; }
  std::int64_t n_passages() const { return segment_.n_passages(); }
  std::int64_t device_bytes() const { return segment_.device_bytes(); }
  bool residuals_on_device() const { return segment_.residuals_on_device(); }

 private:
  DeviceSegment segment_;
};

template <typename T>
nb::object copy_out(const std::vector<T>& values) {
  NewArray<T> array(static_cast<std::int64_t>(values.size()));
  std::copy(values.begin(), values.end(), array.data());
  return array.release();
}

nb::object found_out(const Found& found) {
  NewArray<std::int64_t> unchecked(0, 3);
  return nb::make_tuple(copy_out(found.segments), copy_out(found.pids), copy_out(found.scores),
                        unchecked.release());
}

// What a search looks into, for as long as it runs: the lists may change meanwhile.
class Searched {
 public:
  Searched(const nb::list& segments, const nb::list& allowed) {
    if (allowed.size() != segments.size()) raise_value("allowed: expected one per segment");
    for (std::size_t i = 0; i < segments.size(); ++i) {
      kept_.emplace_back(segments[i]);
      if (!nb::isinstance<PyDeviceSegment>(kept_.back())) {
        raise_type("segments: expected what device_segment makes");
      }
      const DeviceSegment& segment = nb::cast<const PyDeviceSegment&>(kept_.back()).held();
      views_.push_back(&segment);
      flags_.push_back(nullptr);
      if (allowed[i].is_none()) continue;
      masks_.push_back(Array::take<bool, std::uint8_t>("allowed", allowed[i], 1));
      masks_.back().require_length(0, segment.n_passages(), "flags, one per passage");
      flags_.back() = masks_.back().data<std::uint8_t>();
    }
  }

  std::span<const DeviceSegment* const> segments() const { return views_; }
  std::span<const std::uint8_t* const> allowed() const { return flags_; }

 private:
  std::vector<nb::object> kept_;
  std::vector<Array> masks_;
  std::vector<const DeviceSegment*> views_;
  std::vector<const std::uint8_t*> flags_;
};

class PyDeviceCodec {
 public:
  PyDeviceCodec(nb::handle centroids_object, nb::handle weights, nb::handle range,
                std::int64_t device) {
    const Array centroids = take_centroids(centroids_object);
    require_finite(centroids);
    const BucketArrays buckets(weights, range);
    const int number = device_of(device);
    run([&] {
      return DeviceCodec::make(number, matrix<float>(centroids), buckets.view(), &codec_);
    });
  }

  nb::object search_batch(const nb::list& query_objects, const nb::list& segments,
                          const nb::list& allowed, std::int64_t nprobe,
                          std::int64_t n_candidates, std::int64_t n_rescored,
                          std::int64_t n_exact) const {
    const Searched searched(segments, allowed);
    std::vector<Array> arrays;
    std::vector<Matrix<float>> queries;
    for (nb::handle query : query_objects) {
      arrays.push_back(take_query(query));
      queries.push_back(matrix<float>(arrays.back()));
    }
    SearchLimits limits;
    limits.nprobe = in_range("nprobe", nprobe, 1, kMostNumbers);
    limits.n_candidates = in_range("n_candidates", n_candidates, 1, kMostNumbers);
    limits.n_rescored = in_range("n_rescored", n_rescored, 1, kMostNumbers);
    limits.n_exact = in_range("n_exact", n_exact, 0, kMostNumbers);
    std::vector<Found> found;
    run([&] {
      return codec_.search(queries, searched.segments(), searched.allowed(), limits, &found);
    });
    nb::list result;
    for (const Found& one : found) result.append(found_out(one));
    return result;
  }

  nb::object search(nb::handle query, const nb::list& segments, const nb::list& allowed,
                    std::int64_t nprobe, std::int64_t n_candidates, std::int64_t n_rescored,
                    std::int64_t n_exact, std::int64_t threads) const {
    in_range("threads", threads, 0, kMaxThreads);
    nb::list queries;
    queries.append(query);
    return search_batch(queries, segments, allowed, nprobe, n_candidates, n_rescored,
                        n_exact)[0];
  }

 private:
  DeviceCodec codec_;
};

std::int64_t device_count() {
  int count = 0;
  check(count_devices(&count));
  return count;
}

nb::dict device_facts(std::int64_t device) {
  DeviceDescription description;
  const int number = device_of(device);
  run([&] { return describe_device(number, &description); });
  nb::dict facts;
  facts["name"] = description.name;
  facts["compute_capability"] = nb::make_tuple(description.major, description.minor);
  facts["processors"] = description.processors;
  facts["memory_bytes"] = description.memory_bytes;
  facts["free_bytes"] = description.free_bytes;
  return facts;
}

}  // namespace

void bind_device_search(nb::module_& m) {
  using namespace nb::literals;
  m.def("device_count", &device_count);
  m.def("device_facts", &device_facts, "device"_a,
        nb::sig("def device_facts(device: int) -> dict[str, object]"));
  nb::class_<PyDeviceSegment>(m, "DeviceSegment")
      .def(nb::init<nb::handle, nb::handle, nb::handle, nb::handle, nb::handle, nb::handle,
                    nb::handle, std::int64_t, std::int64_t, const std::string&>(),
           "codes"_a, "residuals"_a, "inverse_norms"_a, "ivf_centroids"_a.none(), "ivf_offsets"_a,
           "ivf_pids"_a, "offsets"_a, "n_centroids"_a, "device"_a, "residuals_on"_a)
      .def_prop_ro("n_passages", &PyDeviceSegment::n_passages)
      .def_prop_ro("device_bytes", &PyDeviceSegment::device_bytes)
      .def_prop_ro("residuals_on_device", &PyDeviceSegment::residuals_on_device);
  nb::class_<PyDeviceCodec>(m, "DeviceCodec")
      .def(nb::init<nb::handle, nb::handle, nb::handle, std::int64_t>(), "centroids"_a,
           "bucket_weights"_a, "inverse_norm_range"_a, "device"_a)
      .def("search", &PyDeviceCodec::search, "query"_a, "segments"_a, "allowed"_a, nb::kw_only(),
           "nprobe"_a, "n_candidates"_a, "n_rescored"_a, "n_exact"_a, "threads"_a = 0)
      .def("search_batch", &PyDeviceCodec::search_batch, "queries"_a, "segments"_a, "allowed"_a,
           nb::kw_only(), "nprobe"_a, "n_candidates"_a, "n_rescored"_a, "n_exact"_a);
}

}  // namespace weft::bindings
