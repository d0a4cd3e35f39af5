// What the probed inverted lists say of each passage: for each query vector the score of the best
// probed centroid that the passage holds, over that of the worst probed one.
#include <algorithm>
#include <cmath>
#include <functional>
#include <string>

#include "cpu/coded/probes.h"
#include "cpu/coded/stages.h"

namespace weft::cpu {
namespace {

constexpr std::uint32_t kStampBits = 10;
constexpr std::uint32_t kStamp = (1U << kStampBits) - 1;

struct List {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

constexpr std::int64_t kAhead = 8;          // lists that are asked for in advance
constexpr std::int64_t kMostAhead = 1024;  // bytes of each: the processor goes on by itself

void prefetch_list(const std::uint32_t* pids, const List& list) {
  prefetch(pids + list.begin, std::min((list.end - list.begin) * 4, kMostAhead));
}

// The list of a centroid; empty where it has none.
Status find_list(const InvertedLists& lists, std::uint32_t centroid, List* list) {
  std::size_t place = centroid;
  if (!lists.dense) {
    const auto found = std::lower_bound(lists.numbers.begin(), lists.numbers.end(), centroid);
    if (found == lists.numbers.end() || *found != centroid) {
      *list = {};
      return {};
    }
    place = static_cast<std::size_t>(found - lists.numbers.begin());
  }
  *list = {lists.offsets[place], lists.offsets[place + 1]};
  const auto n_pids = static_cast<std::int64_t>(lists.pids.size());
  if (0 <= list->begin && list->begin <= list->end && list->end <= n_pids) return {};
  return Status::invalid_value("ivf_offsets: list " + std::to_string(place) + " is [" +
                               std::to_string(list->begin) + ", " + std::to_string(list->end) +
                               ") of " + std::to_string(n_pids) + " pids");
}

// Adds a gain to the passages of a list that this query vector has not added to yet. The word
// behind the last passage takes pids that are out of range.
void add_list(const std::uint32_t* pids, std::int64_t n, std::uint32_t n_passages,
              std::uint32_t gain, std::uint32_t stamp, std::uint32_t* words) {
  const std::uint32_t step = gain << kStampBits;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::uint32_t pid = std::min(pids[i], n_passages);
    const std::uint32_t word = words[pid];
    const std::uint32_t raised = ((word & ~kStamp) + step) | stamp;
    words[pid] = (word & kStamp) == stamp ? word : raised;
  }
}

Status accumulate_column(Search& search, std::int64_t number, std::int64_t j, const Probes& probes,
                         std::uint32_t* words) {
  const CodedSegment& segment = *search.segments[static_cast<std::size_t>(number)].segment;
  const auto column = static_cast<std::size_t>(j);
  const Probe* const begin = search.memory.probes.data() + probes.begins[column];
  const Probe* const end = search.memory.probes.data() + probes.begins[column + 1];
  const bool full = end - begin >= search.limits.nprobe;
  const std::uint32_t worst = full ? Probes::byte(end[-1]) : 0;
  const std::uint32_t* pids = segment.lists.pids.data();
  std::vector<List> lists(static_cast<std::size_t>(end - begin + kAhead));
  for (std::int64_t i = 0; i < end - begin; ++i) {
    List* list = &lists[static_cast<std::size_t>(i)];
    Status status = find_list(segment.lists, Probes::centroid(begin[i]), list);
    if (!status.ok()) return status;
    if (i < kAhead) prefetch_list(pids, *list);
  }
  for (const Probe* probe = begin; probe < end; ++probe) {
    const List list = lists[static_cast<std::size_t>(probe - begin)];
    prefetch_list(pids, lists[static_cast<std::size_t>(probe - begin + kAhead)]);
    const std::int64_t start = segment.blocks.ivf_pids;
    if (list.begin == list.end ||
        !search.may_read(number, start + list.begin * 4, start + list.end * 4)) {
      continue;
    }
    add_list(pids + list.begin, list.end - list.begin,
             static_cast<std::uint32_t>(segment.n_passages()),
             Probes::byte(*probe) - worst + 1U, static_cast<std::uint32_t>(j + 1), words);
  }
  return {};
}

Status accumulate_segment(Search& search, std::int64_t number, const Probes& probes) {
  const CodedSegment& segment = *search.segments[static_cast<std::size_t>(number)].segment;
  std::uint32_t* words =
      search.memory.words.data() + search.places[static_cast<std::size_t>(number)] + number;
  for (std::int64_t j = 0; j < search.bytes.n_vectors; ++j) {
    Status status = accumulate_column(search, number, j, probes, words);
    if (!status.ok()) return status;
  }
  if (words[segment.n_passages()] == 0) return {};
  return Status::invalid_value("ivf_pids: one is not below " +
                               std::to_string(segment.n_passages()));
}

}  // namespace

Status accumulate(Search& search) {
  const auto n_segments = static_cast<std::int64_t>(search.segments.size());
  const std::int64_t n_words = search.places.back() + n_segments;
  std::fill_n(search.memory.words.resize(n_words), n_words, 0U);
  Probes probes;
  std::int64_t n_centroids = -1;
  for (std::int64_t s = 0; s < n_segments; ++s) {
    const CodedSegment& segment = *search.segments[static_cast<std::size_t>(s)].segment;
    if (segment.n_centroids != n_centroids) {
      n_centroids = segment.n_centroids;
      probes = choose_probes(search, n_centroids);
    }
    Status status = accumulate_segment(search, s, probes);
    if (!status.ok()) return status;
  }
  return {};
}

namespace {

// A word that about `wanted` passages reach, from a sample; 0 where that is not worth it.
std::uint32_t sampled_limit(const Search& search, std::int64_t wanted) {
  constexpr std::int64_t kSample = 1024;
  const std::int64_t n_words = search.memory.words.size();
  if (n_words < 4 * kSample || n_words < 4 * wanted) return 0;
  std::vector<std::uint32_t> sample;
  sample.reserve(kSample);
  for (std::int64_t i = 0; i < kSample; ++i) {
    sample.push_back(search.memory.words[i * n_words / kSample]);
  }
  const double expected =
      static_cast<double>(wanted) * static_cast<double>(kSample) / static_cast<double>(n_words);
  const auto rank = static_cast<std::size_t>(expected + 3 * std::sqrt(expected) + 3);
  if (rank >= sample.size()) return 0;
  std::nth_element(sample.begin(), sample.begin() + static_cast<std::ptrdiff_t>(rank),
                   sample.end(), std::greater<>());
  return sample[rank] & ~kStamp;
}

std::int64_t collect_above(Search& search, std::uint32_t limit) {
  std::int64_t n_keys = 0;
  for (std::size_t s = 0; s < search.segments.size(); ++s) {
    const auto number = static_cast<std::int64_t>(s);
    const std::int64_t n = search.places[s + 1] - search.places[s];
    Key* keys = search.memory.keys.grow(n_keys, n_keys + n);
    const std::uint32_t* words = search.memory.words.data() + search.places[s] + number;
    n_keys += search.primitives.collect_words(words, n, limit, search.segments[s].allowed,
                                              static_cast<std::uint32_t>(search.places[s]),
                                              keys + n_keys);
  }
  return n_keys;
}

}  // namespace

std::int64_t select_candidates(Search& search) {
  const std::int64_t wanted = search.limits.n_candidates;
  const std::uint32_t limit = sampled_limit(search, wanted);
  std::int64_t n_keys = collect_above(search, limit);
  if (n_keys < wanted && limit > 0) n_keys = collect_above(search, 0);
  if (n_keys <= wanted) return n_keys;
  Key* keys = search.memory.keys.data();
  std::nth_element(keys, keys + wanted, keys + n_keys);
  return wanted;
}

}  // namespace weft::cpu
