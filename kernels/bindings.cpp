// weft.kernels._core: the kernels for Python. The contract of each function stands in
// kernels/scoring.py, residual.py and checksum.py; this file makes its checks of shapes and
// dtypes, and turns a Status into an exception.
#include "bindings/arguments.h"
#include "bindings/clusters.h"
#include "bindings/coded_search.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "weft/assign.h"
#include "weft/candidates.h"
#include "weft/centroid_interaction.h"
#include "weft/centroid_scores.h"
#include "weft/crc32c.h"
#include "weft/maxsim.h"
#include "weft/residual.h"
#include "weft/targets.h"
#include "weft/topk.h"

namespace weft::bindings {
namespace {

nb::object centroid_scores(nb::handle centroids_object, nb::handle query_object,
                           std::int64_t threads) {
  const Array centroids = take_centroids(centroids_object);
  const Array query = take_query(query_object);
  query.require_length(1, centroids.length(1), "components, as centroids have");
  NewArray<float> scores(centroids.length(0), query.length(0));
  run([&, n = usable_threads(threads)] {
    return weft::centroid_scores(matrix<float>(centroids), matrix<float>(query), n, scores.data());
  });
  return scores.release();
}

nb::object top_centroids(nb::handle scores_object, std::int64_t nprobe) {
  const Array scores = take_scores(scores_object);
  nprobe = std::min(in_range("nprobe", nprobe, 0, kMostNumbers), scores.length(0));
  NewArray<std::uint32_t> best(scores.length(1), nprobe);
  run([&] { return weft::top_centroids(matrix<float>(scores), nprobe, best.data()); });
  return best.release();
}

nb::object topk(nb::handle scores_object, std::int64_t k) {
  const Array scores = Array::take<float>("scores", scores_object, 1);
  in_range("scores", scores.size(), 0, kMostNumbers);
  k = std::min(in_range("k", k, 0, kMostNumbers), scores.size());
  NewArray<std::uint32_t> best(k);
  run([&] { return weft::topk(list<float>(scores), k, best.data()); });
  return best.release();
}

nb::object candidates(nb::handle probes_object, nb::handle numbers_object,
                      nb::handle offsets_object, nb::handle pids_object, std::int64_t n_passages,
                      nb::handle allowed_object) {
  const Array probes = Array::take<std::uint32_t>("probes", probes_object, -1);
  const Array offsets = Array::take<std::int64_t>("ivf_offsets", offsets_object, 1);
  const Array pids = Array::take<std::uint32_t>("ivf_pids", pids_object, 1);
  if (offsets.size() < 1) raise_value("ivf_offsets: expected at least one");
  in_range("n_passages", n_passages, 0, kMostNumbers);
  std::optional<Array> numbers;
  if (!numbers_object.is_none()) {
    numbers = Array::take<std::uint32_t>("ivf_centroids", numbers_object, 1);
    numbers->require_length(0, offsets.size() - 1, "numbers, one per inverted list");
  }
  std::optional<Array> allowed;
  if (!allowed_object.is_none()) {
    allowed = Array::take<bool, std::uint8_t>("allowed", allowed_object, 1);
    allowed->require_length(0, n_passages, "flags, one per passage");
  }
  InvertedLists lists;
  lists.dense = !numbers;
  if (numbers) lists.numbers = list<std::uint32_t>(*numbers);
  lists.offsets = list<std::int64_t>(offsets);
  lists.pids = list<std::uint32_t>(pids);
  const std::uint8_t* flags = allowed ? allowed->data<std::uint8_t>() : nullptr;
  std::vector<std::uint32_t> found;
  run([&] {
    return weft::candidates(list<std::uint32_t>(probes), lists, n_passages, flags, &found);
  });
  NewArray<std::uint32_t> result(static_cast<std::int64_t>(found.size()));
  std::copy(found.begin(), found.end(), result.data());
  return result.release();
}

nb::object centroid_interaction(nb::handle scores_object, nb::handle codes_object,
                                nb::handle offsets, nb::handle pids_object,
                                std::optional<double> threshold, std::int64_t threads) {
  const Array scores = take_scores(scores_object);
  const Array codes = take_codes(codes_object);
  if (pids_object.is_none()) raise_type("pids: expected a NumPy array, got None");
  const PassageArrays passages(offsets, pids_object);
  if (threshold && std::isnan(*threshold)) raise_value("threshold: is NaN");
  std::optional<float> limit;
  if (threshold) limit = static_cast<float>(*threshold);
  NewArray<float> result(passages.view().count());
  run([&, n = usable_threads(threads)] {
    return weft::centroid_interaction(matrix<float>(scores), codes_of(codes), passages.view(),
                                      limit, n, result.data());
  });
  return result.release();
}

nb::object maxsim(nb::handle query_object, nb::handle embeddings_object, nb::handle offsets,
                  nb::handle pids, std::int64_t threads) {
  const Array query = take_query(query_object);
  const Array array = take_vectors<float, Half>("embeddings", embeddings_object);
  array.require_length(1, query.length(1), "components, as query has");
  const PassageArrays passages(offsets, pids);
  NewArray<float> result(passages.view().count());
  run([&, n = usable_threads(threads)] {
    return weft::maxsim(matrix<float>(query), embeddings_of(array), passages.view(), n, result.data());
  });
  return result.release();
}

nb::object maxsim_residual(nb::handle query_object, nb::handle scores_object, nb::handle codes,
                           nb::handle residuals, nb::handle inverse_norms, nb::handle weights,
                           nb::handle range, nb::handle offsets, nb::handle pids,
                           std::int64_t threads) {
  const Array query = take_query(query_object);
  const Array scores = take_scores(scores_object);
  scores.require_length(1, query.length(0), "columns, one per query vector");
  const BucketArrays buckets(weights, range);
  const CodedArrays tokens(codes, residuals, inverse_norms, query.length(1), buckets.bits());
  const PassageArrays passages(offsets, pids);
  NewArray<float> result(passages.view().count());
  run([&, n = usable_threads(threads)] {
    return weft::maxsim_residual(matrix<float>(query), matrix<float>(scores), tokens.view(),
                                 buckets.view(), passages.view(), n, result.data());
  });
  return result.release();
}

nb::tuple assign(nb::handle embeddings_object, nb::handle centroids_object, std::int64_t threads) {
  const Array embeddings = take_vectors<float, Half>("embeddings", embeddings_object);
  const Array centroids = take_centroids(centroids_object);
  centroids.require_length(1, embeddings.length(1), "components, as embeddings have");
  if (centroids.length(0) < 1) raise_value("centroids: expected at least one, got 0");
  NewArray<std::uint32_t> codes(embeddings.length(0));
  NewArray<float> scores(embeddings.length(0));
  run([&, n = usable_threads(threads)] {
    return weft::assign(embeddings_of(embeddings), matrix<float>(centroids), n, codes.data(),
                        scores.data());
  });
  return nb::make_tuple(codes.release(), scores.release());
}

nb::object pack(nb::handle codes_object, std::int64_t bits) {
  const Array codes = Array::take<std::uint8_t>("bucket_codes", codes_object, 2);
  in_range("bucket_codes", codes.length(1), 1, kMaxDim);
  const int width = usable_bits(bits);
  NewArray<std::uint8_t> packed(codes.length(0), bytes_per_row(codes.length(1), width));
  run([&] { return weft::pack(matrix<std::uint8_t>(codes), width, packed.data()); });
  return packed.release();
}

nb::object unpack(nb::handle packed_object, std::int64_t bits, std::int64_t dim) {
  const Array packed = Array::take<std::uint8_t>("packed", packed_object, 2);
  const int width = usable_bits(bits);
  in_range("dim", dim, 1, kMaxDim);
  packed.require_length(1, bytes_per_row(dim, width), "bytes per row");
  NewArray<std::uint8_t> codes(packed.length(0), dim);
  run([&] { return weft::unpack(matrix<std::uint8_t>(packed), width, dim, codes.data()); });
  return codes.release();
}

nb::tuple compress(nb::handle embeddings_object, nb::handle centroids_object,
                   nb::handle codes_object, nb::handle cutoffs_object, nb::handle weights,
                   nb::handle range, std::int64_t threads) {
  const Array embeddings = take_vectors<float, Half>("embeddings", embeddings_object);
  const Array centroids = take_centroids(centroids_object);
  centroids.require_length(1, embeddings.length(1), "components, as embeddings have");
  if (centroids.length(0) < 1) raise_value("centroids: expected at least one, got 0");
  const Array codes = take_codes(codes_object);
  codes.require_length(0, embeddings.length(0), "codes, one per embedding");
  const BucketArrays buckets(weights, range);
  const Array cutoffs = Array::take<float>("bucket_cutoffs", cutoffs_object, 1);
  check_cutoffs(cutoffs, buckets.bits());
  NewArray<std::uint8_t> residuals(embeddings.length(0),
                                   bytes_per_row(embeddings.length(1), buckets.bits()));
  NewArray<std::uint8_t> inverse_norms(embeddings.length(0));
  run([&, n = usable_threads(threads)] {
    return weft::compress(embeddings_of(embeddings), matrix<float>(centroids), codes_of(codes),
                          list<float>(cutoffs), buckets.view(), n, residuals.data(),
                          inverse_norms.data());
  });
  return nb::make_tuple(residuals.release(), inverse_norms.release());
}

nb::object decompress(nb::handle codes, nb::handle residuals, nb::handle inverse_norms,
                      nb::handle centroids_object, nb::handle weights, nb::handle range,
                      std::int64_t threads) {
  const Array centroids = take_centroids(centroids_object);
  const BucketArrays buckets(weights, range);
  const CodedArrays tokens(codes, residuals, inverse_norms, centroids.length(1), buckets.bits());
  NewArray<float> embeddings(tokens.size(), centroids.length(1));
  run([&, n = usable_threads(threads)] {
    return weft::decompress(tokens.view(), matrix<float>(centroids), buckets.view(), n,
                            embeddings.data());
  });
  return embeddings.release();
}

nb::object crc32c(nb::handle buffer_object, std::int64_t block_bytes) {
  const Array buffer = Array::take<std::uint8_t>("buffer", buffer_object, 1);
  in_range("block_bytes", block_bytes, 1, std::int64_t{1} << 62);
  const std::int64_t n_blocks =
      buffer.size() / block_bytes + (buffer.size() % block_bytes != 0 ? 1 : 0);
  NewArray<std::uint32_t> checksums(n_blocks);
  run([&] { return weft::crc32c(list<std::uint8_t>(buffer), block_bytes, checksums.data()); });
  return checksums.release();
}

std::vector<std::string> targets() {
  const auto names = weft::targets();
  return {names.begin(), names.end()};
}

std::string active_target() {
  std::string_view name;
  check(weft::active_target(&name));
  return std::string(name);
}

void set_target(const std::string& name) {
  check(weft::set_target(name));
}

int default_threads() {
  int threads = 0;
  check(weft::default_threads(&threads));
  return threads;
}

}  // namespace
}  // namespace weft::bindings

NB_MODULE(_core, m) {
  namespace nb = nanobind;
  namespace b = weft::bindings;
  using namespace nb::literals;

  m.doc() = "The native kernels behind weft.kernels, where each function's contract stands.";
  b::bind_clusters(m);
  b::bind_coded_search(m);
  m.def("targets", &b::targets);
  m.def("active_target", &b::active_target);
  m.def("set_target", &b::set_target, "name"_a);
  m.def("default_threads", &b::default_threads);
  m.def("centroid_scores", &b::centroid_scores,
        nb::sig("def centroid_scores(centroids: weft.kernels.arrays.F32, "
               "query: weft.kernels.arrays.F32, *, threads: int = 0) -> weft.kernels.arrays.F32"),
        "centroids"_a, "query"_a, nb::kw_only(), "threads"_a = 0);
  m.def("top_centroids", &b::top_centroids,
        nb::sig("def top_centroids(scores: weft.kernels.arrays.F32, nprobe: int"
               ") -> weft.kernels.arrays.U32"),
        "scores"_a, "nprobe"_a);
  m.def("topk", &b::topk,
        nb::sig("def topk(scores: weft.kernels.arrays.F32, k: int) -> weft.kernels.arrays.U32"),
        "scores"_a, "k"_a);
  m.def("candidates", &b::candidates,
        nb::sig("def candidates(probes: weft.kernels.arrays.U32, "
               "ivf_centroids: weft.kernels.arrays.U32 | None, "
               "ivf_offsets: weft.kernels.arrays.I64, ivf_pids: weft.kernels.arrays.U32, "
               "n_passages: int, *, allowed: weft.kernels.arrays.Mask | None = None"
               ") -> weft.kernels.arrays.U32"),
        "probes"_a, "ivf_centroids"_a.none(), "ivf_offsets"_a, "ivf_pids"_a, "n_passages"_a,
        nb::kw_only(), "allowed"_a = nb::none());
  m.def("centroid_interaction", &b::centroid_interaction,
        nb::sig("def centroid_interaction(scores: weft.kernels.arrays.F32, "
               "codes: weft.kernels.arrays.Codes, offsets: weft.kernels.arrays.I64, "
               "pids: weft.kernels.arrays.U32, *, threshold: float | None = None, threads: int = 0"
               ") -> weft.kernels.arrays.F32"),
        "scores"_a, "codes"_a, "offsets"_a, "pids"_a, nb::kw_only(), "threshold"_a = nb::none(),
        "threads"_a = 0);
  m.def("maxsim", &b::maxsim,
        nb::sig("def maxsim(query: weft.kernels.arrays.F32, "
               "embeddings: weft.kernels.arrays.Embeddings, offsets: weft.kernels.arrays.I64, *, "
               "pids: weft.kernels.arrays.U32 | None = None, threads: int = 0"
               ") -> weft.kernels.arrays.F32"),
        "query"_a, "embeddings"_a, "offsets"_a, nb::kw_only(), "pids"_a = nb::none(),
        "threads"_a = 0);
  m.def("maxsim_residual", &b::maxsim_residual,
        nb::sig("def maxsim_residual(query: weft.kernels.arrays.F32, "
               "scores: weft.kernels.arrays.F32, codes: weft.kernels.arrays.Codes, "
               "residuals: weft.kernels.arrays.U8, inverse_norms: weft.kernels.arrays.U8, "
               "bucket_weights: weft.kernels.arrays.F32, "
               "inverse_norm_range: weft.kernels.arrays.Range, offsets: weft.kernels.arrays.I64, "
               "*, pids: weft.kernels.arrays.U32 | None = None, threads: int = 0"
               ") -> weft.kernels.arrays.F32"),
        "query"_a, "scores"_a, "codes"_a, "residuals"_a, "inverse_norms"_a, "bucket_weights"_a,
        "inverse_norm_range"_a, "offsets"_a, nb::kw_only(), "pids"_a = nb::none(), "threads"_a = 0);
  m.def("assign", &b::assign,
        nb::sig("def assign(embeddings: weft.kernels.arrays.Embeddings, "
               "centroids: weft.kernels.arrays.F32, *, threads: int = 0"
               ") -> tuple[weft.kernels.arrays.U32, weft.kernels.arrays.F32]"),
        "embeddings"_a, "centroids"_a, nb::kw_only(), "threads"_a = 0);
  m.def("pack", &b::pack,
        nb::sig("def pack(bucket_codes: weft.kernels.arrays.U8, bits: int"
               ") -> weft.kernels.arrays.U8"),
        "bucket_codes"_a, "bits"_a);
  m.def("unpack", &b::unpack,
        nb::sig("def unpack(packed: weft.kernels.arrays.U8, bits: int, dim: int"
               ") -> weft.kernels.arrays.U8"),
        "packed"_a, "bits"_a, "dim"_a);
  m.def("compress", &b::compress,
        nb::sig("def compress(embeddings: weft.kernels.arrays.Embeddings, "
               "centroids: weft.kernels.arrays.F32, codes: weft.kernels.arrays.Codes, "
               "bucket_cutoffs: weft.kernels.arrays.F32, bucket_weights: weft.kernels.arrays.F32, "
               "inverse_norm_range: weft.kernels.arrays.Range, *, threads: int = 0"
               ") -> tuple[weft.kernels.arrays.U8, weft.kernels.arrays.U8]"),
        "embeddings"_a, "centroids"_a, "codes"_a, "bucket_cutoffs"_a, "bucket_weights"_a,
        "inverse_norm_range"_a, nb::kw_only(), "threads"_a = 0);
  m.def("decompress", &b::decompress,
        nb::sig("def decompress(codes: weft.kernels.arrays.Codes, "
               "residuals: weft.kernels.arrays.U8, inverse_norms: weft.kernels.arrays.U8, "
               "centroids: weft.kernels.arrays.F32, bucket_weights: weft.kernels.arrays.F32, "
               "inverse_norm_range: weft.kernels.arrays.Range, *, threads: int = 0"
               ") -> weft.kernels.arrays.F32"),
        "codes"_a, "residuals"_a, "inverse_norms"_a, "centroids"_a, "bucket_weights"_a,
        "inverse_norm_range"_a, nb::kw_only(), "threads"_a = 0);
  m.def("crc32c", &b::crc32c,
        nb::sig("def crc32c(buffer: weft.kernels.arrays.U8, block_bytes: int = 65536"
               ") -> weft.kernels.arrays.U32"),
        "buffer"_a, "block_bytes"_a = 65536);
}
