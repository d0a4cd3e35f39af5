#include "cuda/host/layout.h"

#include <algorithm>

namespace weft::cuda {
namespace {

constexpr std::int64_t kAlignment = 256;
constexpr std::int64_t kChunkPlaces = 4096;
constexpr std::int64_t kMostChunks = 1024;
constexpr std::int64_t kHits = 4096;  // of a column, and four for each probe

// Hands out memory front to back. Addresses are counted, not computed, while there is no memory.
class Layout {
 public:
  explicit Layout(std::uint8_t* memory) : memory_(memory) {}

  template <typename T>
  void take(T** address, std::int64_t n) {
    *address = reinterpret_cast<T*>(at(bytes_));
    bytes_ += device::padded_to(n * static_cast<std::int64_t>(sizeof(T)), kAlignment);
  }
  std::uint8_t* at(std::int64_t place) const {
    return reinterpret_cast<std::uint8_t*>(reinterpret_cast<std::uintptr_t>(memory_) +
                                           static_cast<std::uintptr_t>(place));
  }
  std::int64_t bytes() const { return bytes_; }
  Region since(std::int64_t place) const { return {at(place), bytes_ - place}; }

 private:
  std::uint8_t* memory_;
  std::int64_t bytes_ = 0;
};

void take_scores(Layout& layout, std::int64_t n, device::SearchView& v) {
  const std::int64_t columns = n * v.columns;
  layout.take(&v.query_tiles, n * v.query_tile_bytes());
  layout.take(&v.query_scales, columns);
  layout.take(&v.query_sums, columns);
  layout.take(&v.query_norms, columns);
  layout.take(&v.lowest, columns);
  layout.take(&v.byte_scales, columns);
  layout.take(&v.residual_scales, columns);
  layout.take(&v.limits, columns);
  layout.take(&v.hits, columns * v.hit_capacity);
  layout.take(&v.table, columns * v.padded_centroids());
  layout.take(&v.probes, columns * v.n_groups * v.nprobe);
}

void take_passages(Layout& layout, std::int64_t n, device::SearchView& v) {
  layout.take(&v.chunk_counts, n * v.n_chunks * 2);
  layout.take(&v.n_chosen, n);
  layout.take(&v.chosen, n * v.n_candidates);
  layout.take(&v.keys, n * v.n_candidates);
  layout.take(&v.n_kept, n);
  layout.take(&v.kept, n * v.n_rescored);
  layout.take(&v.maxima, n * v.n_rescored * v.columns);
  layout.take(&v.exact_maxima, n * v.n_exact * v.columns);
}

}  // namespace

void fit(const Shape& shape, device::SearchView* view) {
  view->columns = static_cast<std::uint32_t>(shape.columns);
  view->nprobe = static_cast<std::uint32_t>(shape.nprobe);
  view->n_candidates = static_cast<std::uint32_t>(shape.n_candidates);
  view->n_rescored = static_cast<std::uint32_t>(shape.n_rescored);
  view->n_exact = static_cast<std::uint32_t>(shape.n_exact);
  view->hit_capacity = static_cast<std::uint32_t>(kHits + 4 * shape.nprobe);
  const std::int64_t places = std::max<std::int64_t>(view->n_places, 1);
  const std::int64_t chunk = std::max(kChunkPlaces, (places + kMostChunks - 1) / kMostChunks);
  view->chunk_places = static_cast<std::uint32_t>(chunk);
  view->n_chunks = static_cast<std::uint32_t>((places + chunk - 1) / chunk);
  view->rank_capacity = 2;
  while (view->rank_capacity < shape.n_rescored) view->rank_capacity *= 2;
}

Regions lay_out(std::uint8_t* memory, std::int64_t n_queries, device::SearchView* view) {
  device::SearchView& v = *view;
  Layout layout(memory);
  Regions regions;
  std::uint32_t* n_vectors = nullptr;
  float* query = nullptr;
  layout.take(&n_vectors, n_queries);
  layout.take(&query, n_queries * v.columns * v.codec.dim);
  v.n_vectors = n_vectors;
  v.query = query;
  regions.input = layout.since(0);
  std::int64_t start = layout.bytes();
  layout.take(&v.outcomes, n_queries);
  regions.counters = layout.since(start);  // the outcomes as well: they lead the output
  layout.take(&v.ranked, n_queries * v.rank_capacity);
  regions.output = layout.since(start);
  take_scores(layout, n_queries, v);
  take_passages(layout, n_queries, v);
  start = layout.bytes();
  layout.take(&v.widest, n_queries);
  layout.take(&v.n_hits, n_queries * v.columns);
  layout.take(&v.histograms, n_queries * 2 * device::kBins);
  layout.take(&v.words, n_queries * v.n_places);
  regions.words = layout.since(start);
  start = layout.bytes();
  layout.take(&v.gains, n_queries * v.n_places * device::kGainWords);
  regions.gains = layout.since(start);
  regions.bytes = layout.bytes();
  return regions;
}

}  // namespace weft::cuda
