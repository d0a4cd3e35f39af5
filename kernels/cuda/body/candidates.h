// Candidate generation: which inverted lists are probed, and what they give to their passages.
#pragma once

#include "cuda/body/select.h"

namespace weft::device {

// A block per column, group and query: the nprobe best of the group's centroids, from the hits
// where these hold them, else from the whole column of the table.
struct ChooseProbes {
  static constexpr int kThreads = 256;
  static constexpr int kBlocksPerProcessor = 1;
  struct Shared {
    SelectShared select;
    std::uint32_t n_usable;
    std::uint32_t n_probes;
  };
  SearchView view;

  template <typename Block>
  WEFT_BODY void operator()(Block& block, Shared& shared) const {
    const std::uint32_t j = block.x();
    const std::uint32_t group = block.y();
    const std::uint32_t q = block.z();
    const std::uint32_t n_centroids = view.group_centroids[group];
    const std::uint32_t wanted = least(view.nprobe, n_centroids);
    const std::int64_t column = std::int64_t{q} * view.columns + j;
    const std::uint64_t* hits = view.hits + column * view.hit_capacity;
    const std::uint32_t n_hits = j < view.n_vectors[q] ? view.n_hits[column] : 0;
    Probe* probes = view.probes + ((std::int64_t{q} * view.n_groups + group) * view.columns + j) *
                                      view.nprobe;
    block.threads([&](int t) {
      for (std::uint32_t i = t; i < view.nprobe; i += kThreads) probes[i] = {0, 0};
      if (t == 0) shared.n_usable = shared.n_probes = 0;
    });
    if (j >= view.n_vectors[q]) return;
    const auto hit = [&](std::int64_t i) {
      const std::uint64_t key = hits[i];
      return static_cast<std::uint32_t>(key) < n_centroids ? key : kNoKey;
    };
    const std::uint32_t n_kept = least(n_hits, view.hit_capacity);
    block.threads([&](int t) {
      std::uint32_t usable = 0;
      for (std::uint32_t i = t; i < n_kept; i += kThreads) usable += hit(i) != kNoKey ? 1 : 0;
      if (usable > 0) atomic_add(&shared.n_usable, usable);
    });
    if (n_hits <= view.hit_capacity && shared.n_usable >= wanted) {
      choose(block, shared, n_kept, wanted, probes, hit);
    } else {
      const std::uint8_t* bytes = view.table_row(q, 0) + j;
      choose(block, shared, n_centroids, wanted, probes, [&](std::int64_t i) {
        return probe_key(bytes[i * view.columns], static_cast<std::uint32_t>(i));
      });
    }
  }

 private:
  template <typename Block, typename KeyAt>
  WEFT_BODY void choose(Block& block, Shared& shared, std::int64_t n, std::uint32_t wanted,
                        Probe* probes, KeyAt&& key_at) const {
    const std::uint64_t last =
        select_smallest(block, shared.select, n, wanted, kProbeBits, key_at);
    const std::uint32_t worst = wanted >= view.nprobe ? probe_byte(last) : 0;
    block.threads([&](int t) {
      for (std::int64_t i = t; i < n; i += kThreads) {
        const std::uint64_t key = key_at(i);
        if (key > last) continue;
        const std::uint32_t place = atomic_add(&shared.n_probes, 1U);
        probes[place] = {static_cast<std::uint32_t>(key), gain_of(probe_byte(key), worst)};
      }
    });
  }
};

struct ListRange {
  std::int64_t begin;
  std::int64_t end;
};

// The list of a centroid; empty where it has none.
WEFT_HD ListRange list_of(const SegmentView& segment, std::uint32_t centroid) {
  std::uint32_t place = centroid;
  if (segment.list_numbers != nullptr) {
    std::uint32_t high = segment.n_lists;
    for (place = 0; place < high;) {
      const std::uint32_t middle = (place + high) / 2;
      if (segment.list_numbers[middle] < centroid) {
        place = middle + 1;
      } else {
        high = middle;
      }
    }
    if (place == segment.n_lists || segment.list_numbers[place] != centroid) return {0, 0};
  }
  return {segment.list_offsets[place], segment.list_offsets[place + 1]};
}

// Blocks per probe of 32 columns, share of its list, and query. A passage keeps the greatest gain
// of each column, and in its word the sum of those: in whatever order lists are read.
struct Accumulate {
  static constexpr int kThreads = 128;
  static constexpr int kBlocksPerProcessor = 1;
  struct Shared {};
  SearchView view;
  std::uint32_t first_column;

  template <typename Block>
  WEFT_BODY void operator()(Block& block, Shared&) const {
    const std::uint32_t lane = block.x() / view.nprobe;  // within the 32 columns
    const std::uint32_t q = block.z();
    const std::uint32_t j = first_column + lane;
    if (j >= view.n_vectors[q]) return;
    for (std::uint32_t s = 0; s < view.n_segments; ++s) {
      const SegmentView& segment = view.segments[s];
      const Probe probe =
          view.probes[((std::int64_t{q} * view.n_groups + segment.group) * view.columns + j) *
                          view.nprobe +
                      block.x() % view.nprobe];
      if (probe.gain == 0) continue;
      const ListRange list = list_of(segment, probe.centroid);
      const std::int64_t share = block.y() * std::int64_t{kThreads};
      if (list.begin + share >= list.end) continue;
      block.threads([&](int t) {
        const std::int64_t step = block.count_y() * std::int64_t{kThreads};
        for (std::int64_t i = list.begin + share + t; i < list.end; i += step) {
          raise(q, segment.first_place + segment.pids[i], lane, probe.gain);
        }
      });
    }
  }

 private:
  WEFT_BODY void raise(std::uint32_t q, std::uint32_t place, std::uint32_t lane,
                       std::uint32_t gain) const {
    const std::int64_t row = std::int64_t{q} * view.n_places + place;
    std::uint32_t* word = view.gains + row * kGainWords + lane / 4;
    const std::uint32_t shift = lane % 4 * 8;
    std::uint32_t expected = *word;
    while (true) {
      const std::uint32_t before = expected >> shift & 255U;
      if (gain <= before) return;
      const std::uint32_t raised = (expected & ~(255U << shift)) | gain << shift;
      const std::uint32_t found = atomic_swap_if(word, expected, raised);
      if (found == expected) {
        atomic_add(&view.words[row], gain - before);
        return;
      }
      expected = found;
    }
  }
};

// Where no more passages may be found than candidates are wanted, all of them are candidates.
struct TakeAll {
  static constexpr int kThreads = 256;
  static constexpr int kBlocksPerProcessor = 1;
  struct Shared {};
  SearchView view;

  template <typename Block>
  WEFT_BODY void operator()(Block& block, Shared&) const {
    block.threads([&](int t) {
      const std::int64_t place = std::int64_t{block.x()} * kThreads + t;
      if (place >= view.n_places) return;
      const bool asked = view.n_vectors[block.y()] > 0;
      view.words[std::int64_t{block.y()} * view.n_places + place] = asked ? 1 : 0;
    });
  }
};

}  // namespace weft::device
