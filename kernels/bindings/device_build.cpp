// Building on a device for Python. The contracts stand in kernels/cuda_build.py.
#include "bindings/device_build.h"

#include <nanobind/stl/string.h>

#include <mutex>

#include "bindings/arguments.h"
#include "weft/device_build.h"

namespace weft::bindings {
namespace {

constexpr std::int64_t kMostDevices = 1024;
constexpr std::int64_t kMostIterations = 1000;

Array take_embeddings(nb::handle object) {
  return take_vectors<float, Half>("embeddings", object);
}

class PyDeviceBuilder {
 public:
  PyDeviceBuilder(nb::handle centroids_object, std::int64_t device) {
    const Array centroids = take_centroids(centroids_object);
    require_finite(centroids);
    n_centroids_ = centroids.length(0);
    dim_ = centroids.length(1);
    const int number = static_cast<int>(in_range("device", device, 0, kMostDevices));
    run([&] { return DeviceBuilder::make(number, matrix<float>(centroids), &builder_); });
  }

  nb::object assign(nb::handle object) {
    const Array embeddings = take_embeddings(object);
    NewArray<std::uint32_t> codes(embeddings.length(0));
    NewArray<float> scores(embeddings.length(0));
    alone([&] { return builder_.assign(embeddings_of(embeddings), codes.data(), scores.data()); });
    return nb::make_tuple(codes.release(), scores.release());
  }

  nb::object compress(nb::handle object, nb::handle codes_object, nb::handle cutoffs_object,
                      nb::handle weights, nb::handle range) {
    const Array embeddings = take_embeddings(object);
    const Array codes = Array::take<std::uint32_t>("codes", codes_object, 1);
    codes.require_length(0, embeddings.length(0), "codes, one per embedding");
    const BucketArrays buckets(weights, range);
    const Array cutoffs = Array::take<float>("bucket_cutoffs", cutoffs_object, 1);
    check_cutoffs(cutoffs, buckets.bits());
    NewArray<std::uint8_t> residuals(embeddings.length(0), bytes_per_row(dim_, buckets.bits()));
    NewArray<std::uint8_t> inverse_norms(embeddings.length(0));
    alone([&] {
      return builder_.compress(embeddings_of(embeddings), codes.data<std::uint32_t>(),
                               list<float>(cutoffs), buckets.view(), residuals.data(),
                               inverse_norms.data());
    });
    return nb::make_tuple(residuals.release(), inverse_norms.release());
  }

  void refine(nb::handle object, std::int64_t iterations) {
    const Array embeddings = take_embeddings(object);
    const int n = static_cast<int>(in_range("iterations", iterations, 0, kMostIterations));
    alone([&] { return builder_.refine(embeddings_of(embeddings), n); });
  }

  nb::object centroids() {
    NewArray<float> result(n_centroids_, dim_);
    alone([&] { return builder_.read(result.data()); });
    return result.release();
  }

 private:
  // One thread at a time; others wait without the GIL.
  template <typename Work>
  void alone(Work&& work) {
    run([&] {
      const std::lock_guard lock(mutex_);
      return work();
    });
  }

  std::int64_t n_centroids_ = 0;
  std::int64_t dim_ = 0;
  DeviceBuilder builder_;
  std::mutex mutex_;
};

}  // namespace

void bind_device_build(nb::module_& m) {
  using namespace nb::literals;
  nb::class_<PyDeviceBuilder>(m, "DeviceBuilder")
      .def(nb::init<nb::handle, std::int64_t>(), "centroids"_a, "device"_a)
      .def("assign", &PyDeviceBuilder::assign, "embeddings"_a)
      .def("compress", &PyDeviceBuilder::compress, "embeddings"_a, "codes"_a, "bucket_cutoffs"_a,
           "bucket_weights"_a, "inverse_norm_range"_a)
      .def("refine", &PyDeviceBuilder::refine, "embeddings"_a, "iterations"_a)
      .def("centroids", &PyDeviceBuilder::centroids);
}

}  // namespace weft::bindings
