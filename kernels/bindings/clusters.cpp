#include "bindings/clusters.h"

#include "bindings/arguments.h"
#include "weft/assign.h"
#include "weft/squared_lengths.h"
#include "weft/sum_rows.h"

namespace weft::bindings {
namespace {

Array take_cell_centroids(nb::handle object, std::int64_t dim) {
  Array centroids = take_vectors<float>("cell_centroids", object);
  centroids.require_length(1, dim, "components, as embeddings have");
  if (centroids.length(0) < 1) raise_value("cell_centroids: expected at least one, got 0");
  in_range("cell_centroids", centroids.length(0), 1, kMostNumbers);
  require_finite(centroids);
  return centroids;
}

class PyCellIndex {
 public:
  PyCellIndex(nb::handle centroids, nb::handle cell_centroids, nb::handle cell_offsets,
              std::int64_t threads)
      : centroids_(take_centroids(centroids)),
        cell_centroids_(take_cell_centroids(cell_centroids, centroids_.length(1))),
        cell_offsets_(Array::take<std::int64_t>("cell_offsets", cell_offsets, 1)) {
    if (centroids_.length(0) < 1) raise_value("centroids: expected at least one, got 0");
    require_finite(centroids_);
    cell_offsets_.require_length(0, cell_centroids_.length(0) + 1, "offsets, one more than cells");
    const Cells cells{matrix<float>(cell_centroids_), list<std::int64_t>(cell_offsets_)};
    run([&, n = usable_threads(threads)] {
      return CellIndex::make(matrix<float>(centroids_), cells, n, &index_);
    });
  }

  nb::tuple assign(nb::handle embeddings_object, std::int64_t probes, std::int64_t threads) const {
    const Array embeddings = take_vectors<float, Half>("embeddings", embeddings_object);
    embeddings.require_length(1, centroids_.length(1), "components, as centroids have");
    in_range("probes", probes, 1, kMostNumbers);
    NewArray<std::uint32_t> codes(embeddings.length(0));
    NewArray<float> scores(embeddings.length(0));
    run([&, n = usable_threads(threads)] {
      return index_.assign(embeddings_of(embeddings), probes, n, codes.data(), scores.data());
    });
    return nb::make_tuple(codes.release(), scores.release());
  }

 private:
  Array centroids_;
  Array cell_centroids_;
  Array cell_offsets_;
  CellIndex index_;
};

nb::tuple assign_cells(nb::handle embeddings_object, nb::handle centroids_object,
                       nb::handle cells_object, nb::handle offsets_object, std::int64_t probes,
                       std::int64_t threads) {
  const Array embeddings = take_vectors<float, Half>("embeddings", embeddings_object);
  const Array centroids = take_centroids(centroids_object);
  centroids.require_length(1, embeddings.length(1), "components, as embeddings have");
  in_range("probes", probes, 1, kMostNumbers);
  const PyCellIndex index(centroids_object, cells_object, offsets_object, threads);
  return index.assign(embeddings_object, probes, threads);
}

nb::object sum_rows(nb::handle rows_object, nb::handle groups_object, std::int64_t n_groups,
                    std::int64_t threads) {
  const Array rows = take_vectors<float, Half>("rows", rows_object);
  in_range("rows", rows.length(0), 0, kMostNumbers);
  const Array groups = Array::take<std::uint16_t, std::uint32_t>("groups", groups_object, 1);
  groups.require_length(0, rows.length(0), "numbers, one per row");
  in_range("n_groups", n_groups, 0, kMostNumbers);
  NewArray<float> sums(n_groups, rows.length(1));
  run([&, n = usable_threads(threads)] {
    return weft::sum_rows(embeddings_of(rows), codes_of(groups), n_groups, n, sums.data());
  });
  return sums.release();
}

nb::object squared_lengths(nb::handle rows_object, std::int64_t threads) {
  const Array rows = take_vectors<float, Half>("rows", rows_object);
  NewArray<float> lengths(rows.length(0));
  run([&, n = usable_threads(threads)] {
    return weft::squared_lengths(embeddings_of(rows), n, lengths.data());
  });
  return lengths.release();
}

}  // namespace

void bind_clusters(nb::module_& m) {
  using namespace nb::literals;
  nb::class_<PyCellIndex>(m, "CellIndex")
      .def(nb::init<nb::handle, nb::handle, nb::handle, std::int64_t>(),
           nb::sig("def __init__(self, centroids: weft.kernels.arrays.F32, "
                  "cell_centroids: weft.kernels.arrays.F32, "
                  "cell_offsets: weft.kernels.arrays.I64, *, threads: int = 0) -> None"),
           "centroids"_a, "cell_centroids"_a, "cell_offsets"_a, nb::kw_only(), "threads"_a = 0)
      .def("assign", &PyCellIndex::assign,
           nb::sig("def assign(self, embeddings: weft.kernels.arrays.Embeddings, *, probes: int, "
                  "threads: int = 0) -> tuple[weft.kernels.arrays.U32, weft.kernels.arrays.F32]"),
           "embeddings"_a, nb::kw_only(), "probes"_a, "threads"_a = 0);
  m.def("assign_cells", &assign_cells,
        nb::sig("def assign_cells(embeddings: weft.kernels.arrays.Embeddings, "
               "centroids: weft.kernels.arrays.F32, cell_centroids: weft.kernels.arrays.F32, "
               "cell_offsets: weft.kernels.arrays.I64, *, probes: int, threads: int = 0"
               ") -> tuple[weft.kernels.arrays.U32, weft.kernels.arrays.F32]"),
        "embeddings"_a, "centroids"_a, "cell_centroids"_a, "cell_offsets"_a, nb::kw_only(),
        "probes"_a, "threads"_a = 0);
  m.def("sum_rows", &sum_rows,
        nb::sig("def sum_rows(rows: weft.kernels.arrays.Embeddings, "
               "groups: weft.kernels.arrays.Codes, n_groups: int, *, threads: int = 0"
               ") -> weft.kernels.arrays.F32"),
        "rows"_a, "groups"_a, "n_groups"_a, nb::kw_only(), "threads"_a = 0);
  m.def("squared_lengths", &squared_lengths,
        nb::sig("def squared_lengths(rows: weft.kernels.arrays.Embeddings, *, threads: int = 0"
               ") -> weft.kernels.arrays.F32"),
        "rows"_a, nb::kw_only(), "threads"_a = 0);
}

}  // namespace weft::bindings
