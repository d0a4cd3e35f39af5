// The stages that read passages: centroid interaction, MaxSim in bytes, MaxSim in float32.
#include <algorithm>
#include <cmath>
#include <string>

#include "cpu/coded/stages.h"
#include "cpu/passages.h"

namespace weft::cpu {
namespace {

constexpr std::int64_t kPassagesPerTask = 16;  // so few that threads end together
constexpr std::int64_t kAhead = 16;      // passages whose codes are asked for in advance

constexpr std::int64_t kTileRows = 24;  // of floats, whole tiles of six

// Rows of bytes that are scored at a time: what comes next is asked for between them, and the
// longer they are the more often that must be.
std::int64_t tile_rows_of(std::int64_t row_bytes) { return row_bytes <= 256 ? 24 : 16; }

std::int64_t place_of(Key key) { return static_cast<std::int64_t>(key & 0xFFFFFFFF); }

// A passage's tokens and where they are.
struct Tokens {
  const CodedSegment* segment = nullptr;
  std::int64_t number = 0;
  Rows rows;

  std::int64_t size() const { return rows.end - rows.begin; }
};

Tokens tokens_of(const Search& search, const Located& located) {
  return {search.segments[static_cast<std::size_t>(located.number)].segment, located.number,
          {located.begin, located.end}};
}

Status locate(const Search& search, std::int64_t place, Located* located) {
  const std::int64_t number = search.segment_of(place);
  const auto s = static_cast<std::size_t>(number);
  const CodedSegment& segment = *search.segments[s].segment;
  const auto pid = static_cast<std::uint32_t>(place - search.places[s]);
  Rows rows;
  Status status = visit({segment.offsets, &pid, 1}, 0, segment.tokens.codes.size, &rows);
  *located = {number, rows.begin, rows.end};
  return status;
}

void prefetch_offset(const Search& search, std::int64_t place) {
  const auto s = static_cast<std::size_t>(search.segment_of(place));
  __builtin_prefetch(search.segments[s].segment->offsets.data() + (place - search.places[s]));
}

// Checked copies of a passage's codes, in worker.codes.
Status copy_codes(const Search& search, const Tokens& tokens, WorkerMemory& worker) {
  worker.codes.resize(tokens.size());
  // Codes of appended centroids are no business of a segment that was made before.
  const std::int64_t n_centroids =
      std::min(tokens.segment->n_centroids, search.codec.n_centroids());
  return read_codes(tokens.segment->tokens.codes, tokens.rows, n_centroids, worker.codes.data());
}

bool may_read_codes(Search& search, const Tokens& tokens) {
  const Blocks& blocks = tokens.segment->blocks;
  const std::int64_t width = tokens.segment->tokens.codes.narrow != nullptr ? 2 : 4;
  return search.may_read(tokens.number, blocks.codes + tokens.rows.begin * width,
                         blocks.codes + tokens.rows.end * width);
}

bool may_read_residuals(Search& search, const Tokens& tokens) {
  const Blocks& blocks = tokens.segment->blocks;
  const std::int64_t width = tokens.segment->tokens.residuals.columns;
  const bool residuals =
      search.may_read(tokens.number, blocks.residuals + tokens.rows.begin * width,
                      blocks.residuals + tokens.rows.end * width);
  return search.may_read(tokens.number, blocks.inverse_norms + tokens.rows.begin,
                         blocks.inverse_norms + tokens.rows.end) &&
         residuals;
}

// Fills memory.located, and notes all blocks of the keys' passages that must be checked first.
Status locate_keys(Search& search, std::int64_t n_keys, bool (*may_read)(Search&, const Tokens&)) {
  Located* const located = search.memory.located.resize(n_keys);
  const Key* const keys = search.memory.keys.data();
  for (std::int64_t i = 0; i < n_keys; ++i) {
    if (i + kAhead < n_keys) prefetch_offset(search, place_of(keys[i + kAhead]));
    const Status status = locate(search, place_of(keys[i]), &located[i]);
    if (!status.ok()) return status;
    (void)may_read(search, tokens_of(search, located[i]));  // what is missing is noted
  }
  return {};
}

Status interact_one(Search& search, std::int64_t i, WorkerMemory& worker) {
  const Tokens tokens = tokens_of(search, search.memory.located[i]);
  Key& key = search.memory.keys[i];
  if (Status status = copy_codes(search, tokens, worker); !status.ok()) return status;
  search.to_table_rows(worker.codes.data(), tokens.size());
  const std::uint32_t sum = search.primitives.interact_bytes(
      search.memory.table.data(), search.bytes.columns, worker.codes.data(), tokens.size());
  key = static_cast<Key>(~sum) << 32 | (key & 0xFFFFFFFF);
  return {};
}

// What turns sums of products of bytes into a token's score before its inverse norm.
struct ResidualScales {
  const float* scales;
  const float* offsets;
};

ResidualScales residual_scales(Search& search) {
  const RowScale& weight = search.codec.weight_scale;
  const std::int64_t columns = search.bytes.columns;
  float* const scales = search.memory.residual_scales.resize(2 * columns);
  for (std::int64_t j = 0; j < columns; ++j) {
    scales[j] = search.bytes.scales[j] * weight.scale;
    scales[columns + j] = search.scores.lowest[j] + search.bytes.sums[j] * weight.low;
  }
  return {scales, scales + columns};
}

void read_inverse_norms(const Search& search, const Tokens& tokens, WorkerMemory& worker) {
  float* norms = worker.inverse_norms.resize(tokens.size());
  const std::uint8_t* bytes = tokens.segment->tokens.inverse_norms.data() + tokens.rows.begin;
  const RowScale scale = search.codec.inverse_norm_scale;
  const std::int64_t n = tokens.size();
  for (std::int64_t t = 0; t < n; ++t) {
    norms[t] = scale.low + scale.scale * static_cast<float>(bytes[t]);
  }
}

void prefetch_codes_of(const Tokens& tokens) {
  const Codes& codes = tokens.segment->tokens.codes;
  if (codes.narrow != nullptr) prefetch(codes.narrow + tokens.rows.begin, tokens.size() * 2);
  if (codes.wide != nullptr) prefetch(codes.wide + tokens.rows.begin, tokens.size() * 4);
}

// The residuals of the passage that comes next, asked for a few rows at a time: more requests at
// once than the processor keeps in flight would make it wait.
class NextResiduals {
 public:
  NextResiduals(const Search& search, std::int64_t i, std::int64_t n_keys) {
    if (i >= n_keys) return;
    tokens_ = tokens_of(search, search.memory.located[i]);
    left_ = tokens_.size();
    const CodedTokens& coded = tokens_.segment->tokens;
    prefetch(coded.inverse_norms.data() + tokens_.rows.begin, left_);
    prefetch_codes_of(tokens_);
  }

  void ask_for(std::int64_t n_rows) {
    const std::int64_t n = std::min(n_rows, left_);
    if (n <= 0) return;
    const Matrix<std::uint8_t>& residuals = tokens_.segment->tokens.residuals;
    prefetch(residuals.row(tokens_.rows.end - left_), n * residuals.columns);
    left_ -= n;
  }

 private:
  Tokens tokens_;
  std::int64_t left_ = 0;
};

Status rescore_one(Search& search, const ResidualScales& scales, std::int64_t i,
                   std::int64_t n_keys, WorkerMemory& worker) {
  NextResiduals next(search, i + 1, n_keys);
  const Tokens tokens = tokens_of(search, search.memory.located[i]);
  if (Status status = copy_codes(search, tokens, worker); !status.ok()) return status;
  search.to_table_rows(worker.codes.data(), tokens.size());
  read_inverse_norms(search, tokens, worker);
  const ResidualLayout& layout = search.codec.layout;
  const std::int64_t columns = search.bytes.columns;
  const std::int64_t tile_rows = tile_rows_of(layout.row_bytes);
  std::uint8_t* rows = worker.rows.resize(tile_rows * layout.row_bytes);
  std::int32_t* tile = worker.tile.resize(tile_rows * columns);
  float* best = worker.best.resize(columns);
  forget_maxima(best, columns);
  const std::int64_t share = tile_rows / 3 + 1;
  for (std::int64_t t = 0; t < tokens.size(); t += tile_rows) {
    const std::int64_t n_rows = std::min(tile_rows, tokens.size() - t);
    next.ask_for(share);
    const std::uint8_t* packed = tokens.segment->tokens.residuals.row(tokens.rows.begin + t);
    search.primitives.look_up_bytes(packed, n_rows, layout.packed_bytes,
                                    search.codec.buckets.bits, search.codec.weights.data(),
                                    layout.row_bytes, rows);
    next.ask_for(share);
    search.primitives.dot_bytes(rows, n_rows, layout.row_bytes, search.bytes.residual_panels,
                                columns, tile);
    next.ask_for(share);
    search.primitives.max_residual_bytes(
        tile, n_rows, columns, search.memory.table.data(), search.scores.step,
        worker.codes.data() + t, worker.inverse_norms.data() + t, scales.scales,
        scales.offsets, best);
  }
  search.memory.scores[i] = sum_of_maxima(best, search.bytes.n_vectors);
  return {};
}

// body(i, worker memory) for each key.
template <typename Body>
Status for_keys(Search& search, std::int64_t n_keys, Body&& body) {
  const Partition partition(n_keys, kPassagesPerTask, search.limits.threads);
  return parallel_for(partition, [&](std::int64_t begin, std::int64_t end, int worker) {
    for (std::int64_t i = begin; i < end; ++i) {
      Status status = body(i, search.memory.workers[static_cast<std::size_t>(worker)]);
      if (!status.ok()) return status;
    }
    return Status();
  });
}

}  // namespace

std::int64_t Search::segment_of(std::int64_t place) const {
  if (places.size() == 2) return 0;
  return std::upper_bound(places.begin(), places.end(), place) - places.begin() - 1;
}

bool Search::may_read(std::int64_t segment, std::int64_t begin, std::int64_t end) {
  const auto flags = segments[static_cast<std::size_t>(segment)].segment->blocks.unchecked;
  if (flags.empty() || begin >= end) return true;
  bool may = true;
  const std::int64_t last = std::min((end - 1) / Blocks::kBytes,
                                     static_cast<std::int64_t>(flags.size()) - 1);
  for (std::int64_t block = begin / Blocks::kBytes; block <= last; ++block) {
    if (flags[static_cast<std::size_t>(block)] == 0) continue;
    may = false;
    unchecked.push_back({static_cast<std::uint32_t>(segment), block, block + 1});
  }
  return may;
}

Status interact(Search& search, std::int64_t* n_keys) {
  if (Status status = locate_keys(search, *n_keys, may_read_codes); !status.ok()) return status;
  if (!search.unchecked.empty() || *n_keys <= search.limits.n_rescored) return {};
  Status status = for_keys(search, *n_keys, [&](std::int64_t i, WorkerMemory& worker) {
    if (i + kAhead < *n_keys) {
      prefetch_codes_of(tokens_of(search, search.memory.located[i + kAhead]));
    }
    return interact_one(search, i, worker);
  });
  if (!status.ok()) return status;
  Key* keys = search.memory.keys.data();
  std::nth_element(keys, keys + search.limits.n_rescored, keys + *n_keys);
  *n_keys = search.limits.n_rescored;
  return {};
}

Status rescore(Search& search, std::int64_t n_keys) {
  if (Status status = locate_keys(search, n_keys, may_read_residuals); !status.ok()) return status;
  if (!search.unchecked.empty()) return {};
  search.memory.scores.resize(n_keys);
  const ResidualScales scales = residual_scales(search);
  return for_keys(search, n_keys, [&](std::int64_t i, WorkerMemory& worker) {
    return rescore_one(search, scales, i, n_keys, worker);
  });
}

Status score_exactly(Search& search, std::int64_t place, WorkerMemory& worker, float* score) {
  Located located;
  Status status = locate(search, place, &located);
  if (!status.ok()) return status;
  const Tokens tokens = tokens_of(search, located);
  if (status = copy_codes(search, tokens, worker); !status.ok()) return status;
  read_inverse_norms(search, tokens, worker);
  const std::int64_t dim = search.codec.dim();
  const std::int64_t n_panels = (search.query.rows + search.primitives.lanes - 1) /
                                search.primitives.lanes;
  const std::int64_t columns = n_panels * search.primitives.lanes;
  float* rows = worker.floats.resize(kTileRows * dim);
  float* tile = worker.float_tile.resize(kTileRows * columns);
  float* best = worker.best.resize(columns);
  forget_maxima(best, columns);
  for (std::int64_t t = 0; t < tokens.size(); t += kTileRows) {
    const std::int64_t n_rows = std::min(kTileRows, tokens.size() - t);
    for (std::int64_t r = 0; r < n_rows; ++r) {
      prefetch(search.codec.centroids.row(worker.codes[t + r]), dim * 4);
    }
    const Buckets& buckets = search.codec.buckets;
    search.primitives.look_up_weights(tokens.segment->tokens.residuals.row(tokens.rows.begin + t),
                                      n_rows, dim, buckets.bits, buckets.weights.data(), rows);
    for (std::int64_t r = 0; r < n_rows; ++r) {
      search.primitives.add_centroid(search.codec.centroids.row(worker.codes[t + r]),
                                     worker.inverse_norms[t + r], dim, rows + r * dim);
    }
    search.primitives.dot(rows, n_rows, dim, search.memory.panels.data(), n_panels, tile);
    search.primitives.max_rows(tile, n_rows, columns, best);
  }
  *score = sum_of_maxima(best, search.query.rows);
  return {};
}

}  // namespace weft::cpu
