// The best of many, by histograms: radix select within a block, and over all places of a query.
#pragma once

#include "cuda/body/views.h"

namespace weft::device {

// Sums of s[0][0..i] for each i < kN, in s[kN's number of bits % 2]; kN is a power of two.
template <int kN, typename Block>
WEFT_BODY int scan(Block& block, std::uint32_t (*s)[kN]) {
  int from = 0;
  for (int step = 1; step < kN; step *= 2, from ^= 1) {
    block.threads([&](int t) {
      for (int i = t; i < kN; i += Block::kThreads) {
        s[from ^ 1][i] = s[from][i] + (i >= step ? s[from][i - step] : 0);
      }
    });
  }
  return from;
}

struct SelectShared {
  std::uint32_t counts[2][256];
  std::uint32_t bin;
  std::uint32_t before;  // keys in lower bins
  std::uint32_t within;  // keys in the bin
};

inline constexpr std::uint64_t kNoKey = ~std::uint64_t{0};

// A key such that exactly `rank` of the keys key_at(0..n) are not above it, 1 <= rank <= their
// number. Keys differ and have `bits` bits; kNoKey is none.
template <typename Block, typename KeyAt>
WEFT_BODY std::uint64_t select_smallest(Block& block, SelectShared& shared, std::int64_t n,
                                        std::uint32_t rank, int bits, KeyAt&& key_at) {
  std::uint64_t prefix = 0;
  for (int shift = (bits + 7) / 8 * 8 - 8; shift >= 0; shift -= 8) {
    block.threads([&](int t) {
      for (int i = t; i < 256; i += Block::kThreads) shared.counts[0][i] = 0;
    });
    block.threads([&](int t) {
      for (std::int64_t i = t; i < n; i += Block::kThreads) {
        const std::uint64_t key = key_at(i);
        if (key == kNoKey || (key >> shift) >> 8 != prefix >> 8) continue;
        atomic_add(&shared.counts[0][key >> shift & 255U], 1U);
      }
    });
    const int from = scan<256>(block, shared.counts);
    block.threads([&](int t) {
      for (int i = t; i < 256; i += Block::kThreads) {
        const std::uint32_t before = i > 0 ? shared.counts[from][i - 1] : 0;
        if (before >= rank || shared.counts[from][i] < rank) continue;
        shared.bin = static_cast<std::uint32_t>(i);
        shared.before = before;
        shared.within = shared.counts[from][i] - before;
      }
    });
    prefix |= shared.bin;
    rank -= shared.before;
    const bool whole = rank == shared.within;
    block.sync();  // all have read what the next round writes
    if (whole) return ((prefix + 1) << shift) - 1;
    if (shift == 0) return prefix;
    prefix <<= 8;
  }
  return prefix;
}

// Keys in ascending order; n is a power of two.
template <typename Block>
WEFT_BODY void sort_keys(Block& block, std::uint64_t* keys, std::uint32_t n) {
  for (std::uint32_t size = 2; size <= n; size *= 2) {
    for (std::uint32_t step = size / 2; step > 0; step /= 2) {
      block.threads([&](int t) {
        for (std::uint32_t i = t; i < n / 2; i += Block::kThreads) {
          const std::uint32_t a = i / step * 2 * step + i % step;
          const std::uint32_t b = a + step;
          const bool ascending = (a & size) == 0;
          if ((keys[a] > keys[b]) != ascending) continue;
          const std::uint64_t key = keys[a];
          keys[a] = keys[b];
          keys[b] = key;
        }
      });
    }
  }
}

// The word that exactly as many passages as are wanted reach, read off the histograms of its
// digits. Blocks of every kernel below find it for themselves.
struct WordLimit {
  std::uint32_t digit;   // the upper one, or 0 where fewer than are wanted gained anything
  std::uint32_t wanted;  // still, among those of that digit
  bool all;
};

struct DigitShared {
  std::uint32_t counts[2][kBins];  // at place i, of digit kBins - 1 - i
  WordLimit found;
};

// The digit in which the wanted-th highest lies.
template <typename Block>
WEFT_BODY WordLimit find_digit(Block& block, DigitShared& shared, const std::uint32_t* histogram,
                               std::uint32_t wanted) {
  block.threads([&](int t) {
    for (std::uint32_t i = t; i < kBins; i += Block::kThreads) {
      shared.counts[0][i] = histogram[kBins - 1 - i];
    }
    if (t == 0) shared.found = {0, 0, true};
  });
  const int from = scan<kBins>(block, shared.counts);
  block.threads([&](int t) {
    for (std::uint32_t i = t; i < kBins; i += Block::kThreads) {
      const std::uint32_t before = i > 0 ? shared.counts[from][i - 1] : 0;
      if (before < wanted && shared.counts[from][i] >= wanted) {
        shared.found = {kBins - 1 - i, wanted - before, false};
      }
    }
  });
  const WordLimit found = shared.found;
  block.sync();
  return found;
}

// Calls body(place, word) for the places of a block's chunk that may be found and gained anything.
template <typename Body>
WEFT_BODY void for_words(const SearchView& view, std::uint32_t q, std::uint32_t begin,
                         std::uint32_t end, std::uint32_t step, Body&& body) {
  const std::uint32_t* words = view.words + std::int64_t{q} * view.n_places;
  for (std::uint32_t place = begin; place < end; place += step) {
    const std::uint32_t word = words[place];
    if (word == 0 || (view.allowed != nullptr && view.allowed[place] == 0)) continue;
    body(place, word);
  }
}

// A block per chunk of places and query: how often each upper digit (kLevel 0), or each lower one
// of words with the limit's upper digit (kLevel 1).
template <int kLevel>
struct CountDigits {
  static constexpr int kThreads = 256;
  static constexpr int kBlocksPerProcessor = 1;
  struct Shared {
    DigitShared digit;
    std::uint32_t counts[kBins];
  };
  SearchView view;

  template <typename Block>
  WEFT_BODY void operator()(Block& block, Shared& shared) const {
    const std::uint32_t q = block.y();
    std::uint32_t* histogram = view.histograms + q * 2 * kBins;
    WordLimit limit{0, 0, false};
    if (kLevel == 1) limit = find_digit(block, shared.digit, histogram, view.n_candidates);
    if (kLevel == 1 && limit.all) return;
    const std::uint32_t begin = block.x() * view.chunk_places;
    const std::uint32_t end = least(begin + view.chunk_places, view.n_places);
    block.threads([&](int t) {
      for (std::uint32_t i = t; i < kBins; i += kThreads) shared.counts[i] = 0;
    });
    block.threads([&](int t) {
      for_words(view, q, begin + t, end, kThreads, [&](std::uint32_t, std::uint32_t word) {
        const std::uint32_t digit = word >> kDigitBits;
        if (kLevel == 0) atomic_add(&shared.counts[digit], 1U);
        if (kLevel == 1 && digit == limit.digit) atomic_add(&shared.counts[word % kBins], 1U);
      });
    });
    block.threads([&](int t) {
      for (std::uint32_t i = t; i < kBins; i += kThreads) {
        if (shared.counts[i] > 0) atomic_add(&histogram[kLevel * kBins + i], shared.counts[i]);
      }
    });
  }
};

// Words above `word` are taken, and of those equal to it the first `equal` ones.
struct Cut {
  std::uint32_t word;
  std::uint32_t equal;
};

template <typename Block>
WEFT_BODY Cut find_cut(Block& block, DigitShared& shared, const SearchView& view,
                       std::uint32_t q) {
  const std::uint32_t* histogram = view.histograms + q * 2 * kBins;
  const WordLimit upper = find_digit(block, shared, histogram, view.n_candidates);
  if (upper.all) return {0, 0};
  const WordLimit lower = find_digit(block, shared, histogram + kBins, upper.wanted);
  return {upper.digit << kDigitBits | lower.digit, lower.wanted};
}

// A block per chunk and query: how many words of the chunk are above the limit, and at it.
struct CountChosen {
  static constexpr int kThreads = 256;
  static constexpr int kBlocksPerProcessor = 1;
  struct Shared {
    DigitShared digit;
    std::uint32_t above;
    std::uint32_t equal;
  };
  SearchView view;

  template <typename Block>
  WEFT_BODY void operator()(Block& block, Shared& shared) const {
    const std::uint32_t q = block.y();
    const Cut cut = find_cut(block, shared.digit, view, q);
    const std::uint32_t begin = block.x() * view.chunk_places;
    const std::uint32_t end = least(begin + view.chunk_places, view.n_places);
    block.threads([&](int t) {
      if (t == 0) shared.above = shared.equal = 0;
    });
    block.threads([&](int t) {
      std::uint32_t above = 0;
      std::uint32_t equal = 0;
      for_words(view, q, begin + t, end, kThreads, [&](std::uint32_t, std::uint32_t word) {
        above += word > cut.word ? 1 : 0;
        equal += word == cut.word ? 1 : 0;
      });
      if (above > 0) atomic_add(&shared.above, above);
      if (equal > 0) atomic_add(&shared.equal, equal);
    });
    block.threads([&](int t) {
      if (t > 0) return;
      std::uint32_t* counts = view.chunk_counts + (q * view.n_chunks + block.x()) * 2;
      counts[0] = shared.above;
      counts[1] = shared.equal;
    });
  }
};

// A block per chunk and query: the places that are taken, ascending, each where it belongs.
struct CollectChosen {
  static constexpr int kThreads = 256;
  static constexpr int kBlocksPerProcessor = 1;
  struct Shared {
    DigitShared digit;
    std::uint32_t above[2][kThreads];
    std::uint32_t equal[2][kThreads];
    std::uint32_t above_before;  // in lower chunks
    std::uint32_t equal_before;
  };
  SearchView view;

  template <typename Block>
  WEFT_BODY void operator()(Block& block, Shared& shared) const {
    const std::uint32_t q = block.y();
    const Cut cut = find_cut(block, shared.digit, view, q);
    const std::uint32_t begin = block.x() * view.chunk_places;
    const std::uint32_t end = least(begin + view.chunk_places, view.n_places);
    const std::uint32_t share = (view.chunk_places + kThreads - 1) / kThreads;
    const auto of_thread = [&](int t, auto&& body) {
      const std::uint32_t first = least(begin + t * share, end);
      for_words(view, q, first, least(first + share, end), 1, body);
    };
    count_before(block, shared, q);
    block.threads([&](int t) {
      std::uint32_t above = 0;
      std::uint32_t equal = 0;
      of_thread(t, [&](std::uint32_t, std::uint32_t word) {
        above += word > cut.word ? 1 : 0;
        equal += word == cut.word ? 1 : 0;
      });
      shared.above[0][t] = above;
      shared.equal[0][t] = equal;
    });
    const int from = scan<kThreads>(block, shared.above);
    scan<kThreads>(block, shared.equal);
    block.threads([&](int t) {
      std::uint32_t above = shared.above_before + (t > 0 ? shared.above[from][t - 1] : 0);
      std::uint32_t equal = shared.equal_before + (t > 0 ? shared.equal[from][t - 1] : 0);
      std::uint32_t* chosen = view.chosen + std::int64_t{q} * view.n_candidates;
      of_thread(t, [&](std::uint32_t place, std::uint32_t word) {
        if (word > cut.word) chosen[above++ + least(equal, cut.equal)] = place;
        if (word != cut.word) return;
        if (equal < cut.equal) chosen[above + equal] = place;
        ++equal;
      });
      if (t + 1 == kThreads && block.x() + 1 == view.n_chunks) {
        view.n_chosen[q] = above + least(equal, cut.equal);
      }
    });
  }

 private:
  template <typename Block>
  WEFT_BODY void count_before(Block& block, Shared& shared, std::uint32_t q) const {
    block.threads([&](int t) {
      if (t == 0) shared.above_before = shared.equal_before = 0;
    });
    block.threads([&](int t) {
      const std::uint32_t* counts = view.chunk_counts + q * view.n_chunks * 2;
      for (std::uint32_t chunk = t; chunk < block.x(); chunk += kThreads) {
        atomic_add(&shared.above_before, counts[chunk * 2]);
        atomic_add(&shared.equal_before, counts[chunk * 2 + 1]);
      }
    });
  }
};

}  // namespace weft::device
