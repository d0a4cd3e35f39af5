// Search over coded segments for Python: objects that keep the arrays that they look into.
#include "bindings/coded_search.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "bindings/arguments.h"
#include "weft/coded_search.h"

namespace weft::bindings {
namespace {

class PySearchCodec {
 public:
  PySearchCodec(nb::handle centroids, nb::handle weights, nb::handle range,
                nb::handle cell_centroids, nb::handle cell_offsets, nb::handle rotation_object)
      : centroids_(take_centroids(centroids)), buckets_(weights, range) {
    if (cell_centroids.is_none() != cell_offsets.is_none()) {
      raise_value("cell_offsets: expected together with cell_centroids");
    }
    std::optional<Array> rotation;
    if (!rotation_object.is_none()) rotation = Array::take<float>("rotation", rotation_object, 2);
    if (cell_centroids.is_none()) {
      make(nullptr, rotation);
      return;
    }
    const Array rows = Array::take<float>("cell_centroids", cell_centroids, 2);
    const Array offsets = Array::take<std::int64_t>("cell_offsets", cell_offsets, 1);
    const CentroidCells cells{matrix<float>(rows), list<std::int64_t>(offsets)};
    make(&cells, rotation);
  }

  nb::object search(nb::handle query_object, const nb::list& segments, const nb::list& allowed,
                    std::int64_t nprobe, std::int64_t n_candidates, std::int64_t n_rescored,
                    std::int64_t n_exact, std::int64_t threads) const;

 private:
  void make(const CentroidCells* cells, const std::optional<Array>& rotation) {
    const Matrix<float> turn = rotation ? matrix<float>(*rotation) : Matrix<float>{};
    check(SearchCodec::make(matrix<float>(centroids_), buckets_.view(), cells,
                            rotation ? &turn : nullptr, &codec_));
  }

  Array centroids_;
  BucketArrays buckets_;
  SearchCodec codec_;
};

class PyCodedSegment {
 public:
  PyCodedSegment(nb::handle codes, nb::handle residuals, nb::handle inverse_norms,
                 nb::handle ivf_centroids, nb::handle ivf_offsets, nb::handle ivf_pids,
                 nb::handle offsets, std::int64_t n_centroids, nb::handle unchecked,
                 const std::vector<std::int64_t>& positions)
      : codes_(take_codes(codes)),
        residuals_(Array::take<std::uint8_t>("residuals", residuals, 2)),
        inverse_norms_(Array::take<std::uint8_t>("inverse_norms", inverse_norms, 1)),
        ivf_offsets_(Array::take<std::int64_t>("ivf_offsets", ivf_offsets, 1)),
        ivf_pids_(Array::take<std::uint32_t>("ivf_pids", ivf_pids, 1)),
        offsets_(Array::take<std::int64_t>("offsets", offsets, 1)) {
    if (!ivf_centroids.is_none()) {
      ivf_centroids_ = Array::take<std::uint32_t>("ivf_centroids", ivf_centroids, 1);
    }
    if (!unchecked.is_none()) {
      unchecked_ = Array::take<bool, std::uint8_t>("unchecked", unchecked, 1);
    }
    check_lengths(n_centroids, positions);
    fill(n_centroids, positions);
  }

  const CodedSegment& view() const { return segment_; }

 private:
  void check_lengths(std::int64_t n_centroids, const std::vector<std::int64_t>& positions) const {
    residuals_.require_length(0, codes_.size(), "rows, one per code");
    inverse_norms_.require_length(0, codes_.size(), "bytes, one per code");
    if (offsets_.size() < 1) raise_value("offsets: expected at least one");
    in_range("n_centroids", n_centroids, 1, kMostNumbers);
    const std::int64_t n_lists = ivf_centroids_ ? ivf_centroids_->size() : n_centroids;
    ivf_offsets_.require_length(0, n_lists + 1, "offsets, one more than inverted lists");
    if (positions.size() != 4) raise_value("positions: expected four");
    for (const std::int64_t position : positions) in_range("positions", position, 0, kFarthest);
    if (!ivf_centroids_) return;
    const auto numbers = list<std::uint32_t>(*ivf_centroids_);
    if (std::adjacent_find(numbers.begin(), numbers.end(), std::greater_equal<>()) !=
        numbers.end()) {
      raise_value("ivf_centroids: must be strictly increasing");
    }
  }

  void fill(std::int64_t n_centroids, const std::vector<std::int64_t>& positions) {
    segment_.tokens = {codes_of(codes_), matrix<std::uint8_t>(residuals_),
                       list<std::uint8_t>(inverse_norms_)};
    segment_.offsets = list<std::int64_t>(offsets_);
    segment_.lists.dense = !ivf_centroids_;
    if (ivf_centroids_) segment_.lists.numbers = list<std::uint32_t>(*ivf_centroids_);
    segment_.lists.offsets = list<std::int64_t>(ivf_offsets_);
    segment_.lists.pids = list<std::uint32_t>(ivf_pids_);
    segment_.n_centroids = n_centroids;
    if (unchecked_) segment_.blocks.unchecked = list<std::uint8_t>(*unchecked_);
    segment_.blocks.codes = positions[0];
    segment_.blocks.residuals = positions[1];
    segment_.blocks.inverse_norms = positions[2];
    segment_.blocks.ivf_pids = positions[3];
  }

  static constexpr std::int64_t kFarthest = std::int64_t{1} << 60;

  Array codes_;
  Array residuals_;
  Array inverse_norms_;
  std::optional<Array> ivf_centroids_;
  Array ivf_offsets_;
  Array ivf_pids_;
  Array offsets_;
  std::optional<Array> unchecked_;
  CodedSegment segment_;
};

template <typename T>
nb::object copy_out(const std::vector<T>& values) {
  NewArray<T> array(static_cast<std::int64_t>(values.size()));
  std::copy(values.begin(), values.end(), array.data());
  return array.release();
}

nb::object blocks_out(const std::vector<UncheckedBlocks>& blocks) {
  NewArray<std::int64_t> array(static_cast<std::int64_t>(blocks.size()), 3);
  std::int64_t* out = array.data();
  for (const UncheckedBlocks& block : blocks) {
    *out++ = block.segment;
    *out++ = block.first;
    *out++ = block.end;
  }
  return array.release();
}

nb::object PySearchCodec::search(nb::handle query_object, const nb::list& segments,
                                 const nb::list& allowed, std::int64_t nprobe,
                                 std::int64_t n_candidates, std::int64_t n_rescored,
                                 std::int64_t n_exact, std::int64_t threads) const {
  const Array query = take_query(query_object);
  if (allowed.size() != segments.size()) raise_value("allowed: expected one per segment");
  std::vector<SearchedSegment> searched;
  std::vector<nb::object> kept;  // the lists may change while the GIL is released
  std::vector<Array> masks;
  for (std::size_t i = 0; i < segments.size(); ++i) {
    kept.emplace_back(segments[i]);
    if (!nb::isinstance<PyCodedSegment>(kept.back())) {
      raise_type("segments: expected what coded_segment makes");
    }
    const CodedSegment& segment = nb::cast<const PyCodedSegment&>(kept.back()).view();
    const std::uint8_t* flags = nullptr;
    if (!allowed[i].is_none()) {
      masks.push_back(Array::take<bool, std::uint8_t>("allowed", allowed[i], 1));
      masks.back().require_length(0, segment.n_passages(), "flags, one per passage");
      flags = masks.back().data<std::uint8_t>();
    }
    searched.push_back({&segment, flags});
  }
  SearchLimits limits;
  limits.nprobe = in_range("nprobe", nprobe, 1, kMostNumbers);
  limits.n_candidates = in_range("n_candidates", n_candidates, 1, kMostNumbers);
  limits.n_rescored = in_range("n_rescored", n_rescored, 1, kMostNumbers);
  limits.n_exact = in_range("n_exact", n_exact, 0, kMostNumbers);
  limits.threads = usable_threads(threads);
  Found found;
  run([&] { return codec_.search(matrix<float>(query), searched, limits, &found); });
  return nb::make_tuple(copy_out(found.segments), copy_out(found.pids), copy_out(found.scores),
                        blocks_out(found.unchecked));
}

}  // namespace

void bind_coded_search(nb::module_& m) {
  using namespace nb::literals;
  nb::class_<PyCodedSegment>(m, "CodedSegment")
      .def(nb::init<nb::handle, nb::handle, nb::handle, nb::handle, nb::handle, nb::handle,
                    nb::handle, std::int64_t, nb::handle, const std::vector<std::int64_t>&>(),
           nb::sig("def __init__(self, codes: weft.kernels.arrays.Codes, "
                   "residuals: weft.kernels.arrays.U8, inverse_norms: weft.kernels.arrays.U8, "
                   "ivf_centroids: weft.kernels.arrays.U32 | None, "
                   "ivf_offsets: weft.kernels.arrays.I64, ivf_pids: weft.kernels.arrays.U32, "
                   "offsets: weft.kernels.arrays.I64, n_centroids: int, "
                   "unchecked: weft.kernels.arrays.Mask | None, positions: list[int]) -> None"),
           "codes"_a, "residuals"_a, "inverse_norms"_a, "ivf_centroids"_a.none(), "ivf_offsets"_a,
           "ivf_pids"_a, "offsets"_a, "n_centroids"_a, "unchecked"_a.none(), "positions"_a);
  nb::class_<PySearchCodec>(m, "SearchCodec")
      .def(nb::init<nb::handle, nb::handle, nb::handle, nb::handle, nb::handle, nb::handle>(),
           nb::sig("def __init__(self, centroids: weft.kernels.arrays.F32, "
                   "bucket_weights: weft.kernels.arrays.F32, "
                   "inverse_norm_range: weft.kernels.arrays.Range, "
                   "cell_centroids: weft.kernels.arrays.F32 | None = None, "
                   "cell_offsets: weft.kernels.arrays.I64 | None = None, "
                   "rotation: weft.kernels.arrays.F32 | None = None) -> None"),
           "centroids"_a, "bucket_weights"_a, "inverse_norm_range"_a,
           "cell_centroids"_a.none() = nb::none(), "cell_offsets"_a.none() = nb::none(),
           "rotation"_a.none() = nb::none())
      .def("search", &PySearchCodec::search,
           nb::sig("def search(self, query: weft.kernels.arrays.F32, "
                   "segments: list[CodedSegment], "
                   "allowed: list[weft.kernels.arrays.Mask | None], *, nprobe: int, "
                   "n_candidates: int, n_rescored: int, n_exact: int, threads: int = 0"
                   ") -> tuple[weft.kernels.arrays.U32, weft.kernels.arrays.U32, "
                   "weft.kernels.arrays.F32, weft.kernels.arrays.I64]"),
           "query"_a, "segments"_a, "allowed"_a, nb::kw_only(), "nprobe"_a, "n_candidates"_a,
           "n_rescored"_a, "n_exact"_a, "threads"_a = 0);
}

}  // namespace weft::bindings
