// A search from the query to the ranked passages.
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "cpu/coded/stages.h"
#include "cpu/finite.h"
#include "cpu/panels.h"
#include "cpu/targets.h"
#include "cpu/turns.h"
#include "weft/coded_search.h"

namespace weft {
namespace cpu {
namespace {

// Passages with their scores, best first.
Status rank(Search& search, std::int64_t n_keys) {
  Ranked* const ranked = search.memory.ranked.resize(n_keys);
  for (std::int64_t i = 0; i < n_keys; ++i) {
    const float score = search.memory.scores[i];
    if (std::isnan(score)) {
      return Status::invalid_value("scores: one is NaN, as no sound vectors give");
    }
    ranked[i] = {score, static_cast<std::int64_t>(search.memory.keys[i] & 0xFFFFFFFF)};
  }
  std::sort(ranked, ranked + n_keys);
  return {};
}

// Scores the best once more in float32.
Status sharpen(Search& search) {
  Ranked* const ranked = search.memory.ranked.data();
  const std::int64_t n_ranked = search.memory.ranked.size();
  const std::int64_t n = std::min(search.limits.n_exact, n_ranked);
  if (n == 0) return {};
  const std::int64_t lanes = search.primitives.lanes;
  const std::int64_t columns = panels_for(search.query.rows, lanes) * lanes;
  write_panels(search.query.data, search.query.rows, search.query.columns, lanes,
               search.memory.panels.resize(columns * search.query.columns));
  const Partition partition(n, 4, search.limits.threads);
  Status status = parallel_for(partition, [&](std::int64_t begin, std::int64_t end, int worker) {
    for (std::int64_t i = begin; i < end; ++i) {
      Ranked& passage = ranked[i];
      Status one = score_exactly(search, passage.place,
                                 search.memory.workers[static_cast<std::size_t>(worker)],
                                 &passage.score);
      if (!one.ok()) return one;
      if (std::isnan(passage.score)) {
        return Status::invalid_value("scores: one is NaN, as no sound vectors give");
      }
    }
    return Status();
  });
  if (status.ok()) std::sort(ranked, ranked + n_ranked);
  return status;
}

void write(const Search& search, Found* found) {
  const std::int64_t n = search.memory.ranked.size();
  found->segments.reserve(static_cast<std::size_t>(n));
  found->pids.reserve(static_cast<std::size_t>(n));
  found->scores.reserve(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i) {
    const Ranked& passage = search.memory.ranked[i];
    const std::int64_t number = search.segment_of(passage.place);
    const std::int64_t start = search.places[static_cast<std::size_t>(number)];
    found->segments.push_back(static_cast<std::uint32_t>(number));
    found->pids.push_back(static_cast<std::uint32_t>(passage.place - start));
    found->scores.push_back(passage.score);
  }
}

// Where each segment's passages start, in memory.
void place_segments(Search& search) {
  const std::size_t n = search.segments.size();
  std::int64_t* const places = search.memory.places.resize(static_cast<std::int64_t>(n) + 1);
  places[0] = 0;
  for (std::size_t s = 0; s < n; ++s) {
    places[s + 1] = places[s] + search.segments[s].segment->n_passages();
  }
  search.places = {places, n + 1};
}

std::int64_t count_allowed(const Search& search) {
  std::int64_t count = 0;
  for (const SearchedSegment& searched : search.segments) {
    const std::int64_t n = searched.segment->n_passages();
    if (searched.allowed == nullptr) {
      count += n;
      continue;
    }
    for (std::int64_t i = 0; i < n; ++i) count += searched.allowed[i] != 0 ? 1 : 0;
  }
  return count;
}

// All passages that may be found: probing would only lose some. Never more than were counted,
// even if the caller allows others meanwhile.
std::int64_t take_all(Search& search, std::int64_t count) {
  Key* next = search.memory.keys.resize(count);
  const Key* const end = next + count;
  for (std::size_t s = 0; s < search.segments.size(); ++s) {
    const std::uint8_t* allowed = search.segments[s].allowed;
    for (std::int64_t i = search.places[s]; i < search.places[s + 1] && next < end; ++i) {
      if (allowed == nullptr || allowed[i - search.places[s]] != 0) *next++ = static_cast<Key>(i);
    }
  }
  return count - (end - next);
}

Status find_candidates(Search& search, std::int64_t* n_keys) {
  const std::int64_t n_allowed = count_allowed(search);
  if (n_allowed <= search.limits.n_candidates) {
    *n_keys = take_all(search, n_allowed);
    return {};
  }
  Status status = accumulate(search);
  if (status.ok() && search.unchecked.empty()) *n_keys = select_candidates(search);
  return status;
}

Status run(Search& search, Found* found) {
  const auto waits = [&] { return !search.unchecked.empty(); };
  place_segments(search);
  search.memory.workers.resize(static_cast<std::size_t>(search.limits.threads));
  search.bytes = quantize_query(search.query, search.primitives.query_levels,
                                search.codec.layout, search.memory);
  if (Status status = score_centroids(search); !status.ok()) return status;
  std::int64_t n_keys = 0;
  if (Status status = find_candidates(search, &n_keys); !status.ok() || waits()) return status;
  if (Status status = interact(search, &n_keys); !status.ok() || waits()) return status;
  if (Status status = rescore(search, n_keys); !status.ok() || waits()) return status;
  if (Status status = rank(search, n_keys); !status.ok()) return status;
  if (Status status = sharpen(search); !status.ok()) return status;
  write(search, found);
  return {};
}

Status check(const Matrix<float>& query, std::span<const SearchedSegment> segments,
             const SearchLimits& limits, const CodedCodec& codec) {
  if (query.rows < 1 || query.rows > kMaxSearchColumns) {
    return Status::invalid_value("query: expected 1 to " + std::to_string(kMaxSearchColumns) +
                                 " vectors, got " + std::to_string(query.rows));
  }
  if (query.columns != codec.dim()) {
    return Status::invalid_value("query: expected " + std::to_string(codec.dim()) +
                                 " components, as centroids have, got " +
                                 std::to_string(query.columns));
  }
  if (limits.nprobe < 1 || limits.n_candidates < 1 || limits.n_rescored < 1 ||
      limits.n_exact < 0) {
    return Status::invalid_value("limits: nprobe, n_candidates and n_rescored must be above 0");
  }
  std::int64_t n_passages = 0;
  for (const SearchedSegment& searched : segments) {
    const CodedSegment& segment = *searched.segment;
    n_passages += segment.n_passages();
    if (segment.n_centroids < 1 || segment.n_centroids > codec.n_centroids()) {
      return Status::invalid_value("n_centroids: " + std::to_string(segment.n_centroids) +
                                   " is not within the codec's " +
                                   std::to_string(codec.n_centroids()));
    }
    if (segment.tokens.residuals.columns != codec.layout.packed_bytes) {
      return Status::invalid_value("residuals: rows of " +
                                   std::to_string(segment.tokens.residuals.columns) +
                                   " bytes do not fit the codec");
    }
  }
  if (n_passages < std::numeric_limits<std::uint32_t>::max()) return {};
  return Status::invalid_value("segments: too many passages for one search");
}

Status check_cells(const CentroidCells& cells, const Matrix<float>& centroids) {
  if (cells.centroids.columns != centroids.columns) {
    return Status::invalid_value("cell_centroids: expected " + std::to_string(centroids.columns) +
                                 " components, as centroids have");
  }
  if (!all_finite(cells.centroids.data, cells.centroids.rows * cells.centroids.columns)) {
    return Status::invalid_value("cell_centroids: holds NaN or infinity");
  }
  const auto n_offsets = static_cast<std::int64_t>(cells.offsets.size());
  if (n_offsets != cells.centroids.rows + 1 || n_offsets < 2 || cells.offsets.front() != 0 ||
      cells.offsets.back() != centroids.rows ||
      !std::is_sorted(cells.offsets.begin(), cells.offsets.end())) {
    return Status::invalid_value("cell_offsets: expected " +
                                 std::to_string(cells.centroids.rows + 1) +
                                 ", ascending from 0 to the number of centroids");
  }
  return {};
}

Status check_rotation(const Matrix<float>& rotation, std::int64_t dim) {
  const std::int64_t size = rotation.rows;
  if (size < 1 || rotation.columns != size || dim % size != 0) {
    return Status::invalid_value("rotation: expected [b, b], b a divisor of " +
                                 std::to_string(dim));
  }
  if (all_finite(rotation.data, size * size)) return {};
  return Status::invalid_value("rotation: holds NaN or infinity");
}

}  // namespace
}  // namespace cpu

SearchCodec::SearchCodec() = default;
SearchCodec::SearchCodec(SearchCodec&&) noexcept = default;
SearchCodec& SearchCodec::operator=(SearchCodec&&) noexcept = default;
SearchCodec::~SearchCodec() = default;

Status SearchCodec::make(const Matrix<float>& centroids, const Buckets& buckets,
                         const CentroidCells* cells, const Matrix<float>* rotation,
                         SearchCodec* codec) {
  if (centroids.rows < 1 || centroids.rows >= std::int64_t{1} << 31) {
    return Status::invalid_value("centroids: expected 1 to 2147483647, got " +
                                 std::to_string(centroids.rows));
  }
  if (!cpu::all_finite(centroids.data, centroids.rows * centroids.columns)) {
    return Status::invalid_value("centroids: holds NaN or infinity");
  }
  if (cells != nullptr) {
    if (Status status = cpu::check_cells(*cells, centroids); !status.ok()) return status;
  }
  if (rotation != nullptr) {
    const Status status = cpu::check_rotation(*rotation, centroids.columns);
    if (!status.ok()) return status;
  }
  return cpu::without_exceptions([&] {
    codec->codec_ = std::make_unique<cpu::CodedCodec>(centroids, buckets, cells, rotation);
    return Status();
  });
}

Status SearchCodec::search(const Matrix<float>& query, std::span<const SearchedSegment> segments,
                           const SearchLimits& limits, Found* found) const {
  const cpu::Primitives* primitives = nullptr;
  if (Status status = cpu::active_primitives(&primitives); !status.ok()) return status;
  SearchLimits usable = limits;
  if (Status status = cpu::resolve_threads(limits.threads, &usable.threads); !status.ok()) {
    return status;
  }
  if (Status status = cpu::check(query, segments, limits, *codec_); !status.ok()) return status;
  if (segments.empty()) return {};
  return cpu::without_exceptions([&] {
    const cpu::Turn turn(usable.threads);
    usable.threads = turn.threads();
    const cpu::AwakePool awake(usable.threads);
    const cpu::RotatedQuery rotated(codec_->rotation, *primitives, query);
    const Matrix<float>& turned = rotated.view();
    if (!cpu::all_finite(turned.data, turned.rows * turned.columns)) {
      return Status::invalid_value("query: too long to be rotated in float32");
    }
    cpu::BorrowedMemory memory(*codec_);
    cpu::Search search{*codec_, *primitives, turned, segments, usable, *memory, found->unchecked};
    return cpu::run(search, found);
  });
}

}  // namespace weft
