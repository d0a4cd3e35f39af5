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

constexpr std::int64_t kMostGain = 255;
constexpr std::int64_t kColumnsPerSum = 256;  // gains of so many query vectors fit 16 bits
constexpr std::int64_t kBlock = 16384;        // passages at a time: their gains and sums stay in L1
constexpr std::int64_t kLargestBlock = 131072;
constexpr std::int64_t kBlocks = 16;  // rather larger blocks than more, while L2 holds them
constexpr std::int64_t kFewPostings = 100'000;  // not worth waking a second thread

struct List {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

constexpr std::int64_t kAhead = 8;          // lists that are asked for in advance
constexpr std::int64_t kMostAhead = 1024;  // bytes of each: the processor goes on by itself

void prefetch_list(const Postings& list) {
  prefetch(list.next, std::min((list.end - list.next) * 4, kMostAhead));
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

// The lists that column j probes, worst first, those that may be read.
Status list_column(Search& search, std::int64_t number, std::int64_t j, const Probes& probes,
                   Postings** next) {
  const CodedSegment& segment = *search.segments[static_cast<std::size_t>(number)].segment;
  const Probe* const begin = search.memory.probes.data() + probes.begins[j];
  const Probe* const end = search.memory.probes.data() + probes.ends[j];
  const bool full = end - begin >= search.limits.nprobe;
  const std::uint32_t worst = full && begin < end ? Probes::byte(end[-1]) : 0;
  const std::uint32_t* const pids = segment.lists.pids.data();
  const std::int64_t start = segment.blocks.ivf_pids;
  for (const Probe* probe = end; probe-- > begin;) {
    List list;
    Status status = find_list(segment.lists, Probes::centroid(*probe), &list);
    if (!status.ok()) return status;
    if (list.begin == list.end ||
        !search.may_read(number, start + list.begin * 4, start + list.end * 4)) {
      continue;
    }
    const std::int64_t gain = Probes::byte(*probe) - worst + 1;
    *(*next)++ = {pids + list.begin, pids + list.end,
                  static_cast<std::uint32_t>(std::min(gain, kMostGain))};
  }
  return {};
}

// Fills memory.postings, a column after the other; how many pids they hold.
Status list_postings(Search& search, std::int64_t number, const Probes& probes,
                     std::int64_t* n_pids) {
  const std::int64_t columns = search.bytes.n_vectors;
  Postings* const lists = search.memory.postings.resize(probes.begins[columns]);
  std::int64_t* const ends = search.memory.posting_ends.resize(columns);
  Postings* next = lists;
  for (std::int64_t j = 0; j < columns; ++j) {
    Status status = list_column(search, number, j, probes, &next);
    if (!status.ok()) return status;
    ends[j] = next - lists;
  }
  for (const Postings* list = lists; list < next; ++list) *n_pids += list->end - list->next;
  return {};
}

// Gives a gain to the passages of a list within a block; a better one takes the place of what a
// passage had from the list before.
inline void visit_list(Postings& list, std::uint32_t first, std::uint32_t n, std::uint8_t* gains) {
  const std::uint32_t* next = list.next;
  const std::uint32_t* const end = list.end;
  const auto gain = static_cast<std::uint8_t>(list.gain);
  for (; next < end; ++next) {
    const std::uint32_t place = *next - first;  // beyond n as well where a pid is before the block
    if (place >= n) break;
    gains[place] = gain;
  }
  list.next = next;
}

// Where in a list a passage is to be expected, were they spread evenly.
const std::uint32_t* guess(const Postings& list, std::int64_t first, std::int64_t n) {
  return list.next + (list.end - list.next) * first / n;
}

// The first pid of a list that is not below `first`, from a guess outwards: it is mostly in the
// cache line that was asked for, where halving would wait for memory at each step.
const std::uint32_t* skip_list(const Postings& list, std::uint32_t first,
                               const std::uint32_t* place) {
  const std::uint32_t* low = place;
  const std::uint32_t* high = place;
  for (std::int64_t step = 4; low > list.next && low[-1] >= first; step *= 2) {
    high = low;
    low -= std::min<std::int64_t>(step, low - list.next);
  }
  for (std::int64_t step = 4; high < list.end && *high < first; step *= 2) {
    low = high;
    high += std::min<std::int64_t>(step, list.end - high);
  }
  return std::lower_bound(low, high, first);
}

// Advances lists of passages below n to the passages from `begin` on.
void skip_lists(Postings* lists, std::int64_t n_lists, std::int64_t begin, std::int64_t n) {
  for (std::int64_t i = 0; i < n_lists; ++i) {
    if (i + kAhead < n_lists) __builtin_prefetch(guess(lists[i + kAhead], begin, n));
    lists[i].next =
        skip_list(lists[i], static_cast<std::uint32_t>(begin), guess(lists[i], begin, n));
  }
}

void add_sums(std::uint16_t* sums, std::int64_t n, std::uint32_t* words) {
  for (std::int64_t i = 0; i < n; ++i) words[i] += sums[i];
  std::fill_n(sums, n, std::uint16_t{0});
}

// Adds up what each query vector's lists give to the passages [first, first + n).
void accumulate_block(const Search& search, std::int64_t first, std::int64_t n,
                      WorkerMemory& worker, std::uint32_t* words) {
  const std::int64_t* const ends = search.memory.posting_ends.data();
  const std::int64_t columns = search.bytes.n_vectors;
  Postings* const lists = worker.postings.data();
  Postings* const last = lists + ends[columns - 1];
  Postings* list = lists;
  for (std::int64_t j = 0; j < columns; ++j) {
    for (Postings* const end = lists + ends[j]; list < end; ++list) {
      if (list + kAhead < last) prefetch_list(list[kAhead]);
      visit_list(*list, static_cast<std::uint32_t>(first), static_cast<std::uint32_t>(n),
                 worker.gains.data());
    }
    search.primitives.add_gains(worker.gains.data(), n, worker.sums.data());
    const bool full = (j + 1) % kColumnsPerSum == 0;
    if (full || j + 1 == columns) add_sums(worker.sums.data(), n, words);
  }
}

// The same for the passages [begin, end), a block after the other.
Status accumulate_range(const Search& search, std::int64_t number, std::int64_t begin,
                        std::int64_t end, std::int64_t block, WorkerMemory& worker) {
  const std::int64_t n_lists = search.memory.posting_ends[search.bytes.n_vectors - 1];
  const std::int64_t n = search.places[static_cast<std::size_t>(number) + 1] -
                         search.places[static_cast<std::size_t>(number)];
  Postings* const lists = worker.postings.resize(n_lists);
  std::copy_n(search.memory.postings.data(), n_lists, lists);
  if (begin > 0) skip_lists(lists, n_lists, begin, n);
  std::fill_n(worker.gains.resize(block), block, std::uint8_t{0});
  std::fill_n(worker.sums.resize(block), block, std::uint16_t{0});
  std::uint32_t* const words =
      const_cast<std::uint32_t*>(search.memory.words.data()) +
      search.places[static_cast<std::size_t>(number)];
  for (std::int64_t first = begin; first < end; first += block) {
    accumulate_block(search, first, std::min(block, end - first), worker, words + first);
  }
  const auto is_left = [](const Postings& list) { return list.next < list.end; };
  if (end < n || std::none_of(lists, lists + n_lists, is_left)) return {};
  return Status::invalid_value("ivf_pids: one is not below " + std::to_string(n) +
                               ", or a list does not ascend");
}

// Passages of a block: as many blocks as threads can share evenly.
std::int64_t block_size(std::int64_t n_passages, int threads) {
  const std::int64_t most = std::clamp(n_passages / kBlocks, kBlock, kLargestBlock);
  const std::int64_t n_blocks = padded((n_passages + most - 1) / most, threads);
  return padded((n_passages + n_blocks - 1) / n_blocks, 64);
}

Status accumulate_segment(Search& search, std::int64_t number, const Probes& probes) {
  const CodedSegment& segment = *search.segments[static_cast<std::size_t>(number)].segment;
  const std::int64_t n = segment.n_passages();
  std::int64_t n_pids = 0;
  Status status = list_postings(search, number, probes, &n_pids);
  if (!status.ok() || !search.unchecked.empty() || n == 0) return status;
  const int threads = n_pids < kFewPostings ? 1 : search.limits.threads;
  const std::int64_t block = block_size(n, threads);
  const std::int64_t per_thread = padded((n + threads - 1) / threads, block);
  return parallel_for(Partition(n, per_thread, threads),
                      [&](std::int64_t begin, std::int64_t end, int worker) {
                        return accumulate_range(
                            search, number, begin, end, block,
                            search.memory.workers[static_cast<std::size_t>(worker)]);
                      });
}

}  // namespace

Status accumulate(Search& search) {
  const auto n_segments = static_cast<std::int64_t>(search.segments.size());
  const std::int64_t n_words = search.places.back();
  std::fill_n(search.memory.words.resize(n_words), n_words, 0U);
  Probes probes;
  std::int64_t n_centroids = -1;
  for (std::int64_t s = 0; s < n_segments; ++s) {
    const CodedSegment& segment = *search.segments[static_cast<std::size_t>(s)].segment;
    if (segment.n_centroids != n_centroids) {
      n_centroids = segment.n_centroids;
      Status status = choose_probes(search, n_centroids, &probes);
      if (!status.ok()) return status;
    }
    Status status = accumulate_segment(search, s, probes);
    if (!status.ok()) return status;
  }
  return {};
}

namespace {

// One less than a word that about `wanted` passages reach, from a sample; 0 where that is not
// worth it.
std::uint32_t sampled_limit(Search& search, std::int64_t wanted) {
  constexpr std::int64_t kSample = 1024;
  const std::int64_t n_words = search.memory.words.size();
  if (n_words < 4 * kSample || n_words < 4 * wanted) return 0;
  std::uint32_t* const sample = search.memory.word_sample.resize(kSample);
  for (std::int64_t i = 0; i < kSample; ++i) {
    sample[i] = search.memory.words[i * n_words / kSample];
  }
  const double expected =
      static_cast<double>(wanted) * static_cast<double>(kSample) / static_cast<double>(n_words);
  const auto rank = static_cast<std::int64_t>(expected + 3 * std::sqrt(expected) + 3);
  if (rank >= kSample) return 0;
  std::nth_element(sample, sample + rank, sample + kSample, std::greater<>());
  return sample[rank] > 0 ? sample[rank] - 1 : 0;
}

std::int64_t collect_above(Search& search, std::uint32_t limit) {
  std::int64_t n_keys = 0;
  for (std::size_t s = 0; s < search.segments.size(); ++s) {
    const std::int64_t n = search.places[s + 1] - search.places[s];
    Key* keys = search.memory.keys.grow(n_keys, n_keys + n);
    const std::uint32_t* words = search.memory.words.data() + search.places[s];
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
