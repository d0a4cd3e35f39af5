// What Python cannot bring about: allocations that fail inside the pool's threads, a target that is
// chosen by several threads at once, and searches that sanitizers see whole. Built with sanitizers
// only; ends with 1 on a mistake.
#include <atomic>
#include <barrier>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <new>
#include <numeric>
#include <string_view>
#include <thread>
#include <vector>

#include "weft/assign.h"
#include "weft/candidates.h"
#include "weft/centroid_interaction.h"
#include "weft/centroid_scores.h"
#include "weft/coded_search.h"
#include "weft/maxsim.h"
#include "weft/residual.h"
#include "weft/squared_lengths.h"
#include "weft/sum_rows.h"
#include "weft/targets.h"
#include "weft/topk.h"

namespace {

std::atomic<long> allocations_left{-1};  // negative: without end

}  // namespace

void* operator new(std::size_t size) {
  if (allocations_left.load() >= 0 && allocations_left.fetch_sub(1) <= 0) throw std::bad_alloc();
  if (void* memory = std::malloc(size > 0 ? size : 1)) return memory;
  throw std::bad_alloc();
}
void* operator new(std::size_t size, std::align_val_t alignment) {
  if (allocations_left.load() >= 0 && allocations_left.fetch_sub(1) <= 0) throw std::bad_alloc();
  const auto step = static_cast<std::size_t>(alignment);
  if (void* memory = std::aligned_alloc(step, (size + step) / step * step)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

namespace {

constexpr int kThreads = 4;
constexpr std::int64_t kTokens = 4000, kDim = 24, kCentroids = 600, kQuery = 20, kPassages = 400;

std::vector<float> numbers(std::int64_t n) {
  std::vector<float> made(static_cast<std::size_t>(n));
  std::uint32_t state = 1;
  for (float& x : made) {
    state = state * 1664525U + 1013904223U;
    x = static_cast<float>(state >> 8) / static_cast<float>(1U << 24) - 0.5F;
  }
  return made;
}

int fail(const char* what) {
  std::fprintf(stderr, "%s\n", what);
  return 1;
}

// Lets the first, the second, ... allocation and all after it fail until none does.
int exhaust(const char* name, const std::function<weft::Status()>& kernel) {
  for (long n = 0; n < 100'000; ++n) {
    allocations_left.store(n);
    weft::StatusCode code = weft::StatusCode::kOutOfMemory;
    try {
      code = kernel().code();
    } catch (const std::bad_alloc&) {  // on the caller's own thread: its to catch
    }
    const bool enough = allocations_left.exchange(-1) > 0;
    if (code == weft::StatusCode::kInvalidValue) return fail(name);
    if (enough) return code == weft::StatusCode::kOk ? 0 : fail(name);
  }
  return fail(name);
}

int check_memory() {
  const std::vector<float> tokens = numbers(kTokens * kDim), query = numbers(kQuery * kDim);
  const std::vector<float> centroids = numbers(kCentroids * kDim);
  const std::vector<float> scores = numbers(kCentroids * kQuery), weights = {-1, -0.5, 0.5, 1};
  const std::vector<float> cutoffs = {-0.7F, 0, 0.7F};
  std::vector<std::int64_t> offsets(kPassages + 1);
  for (std::size_t i = 0; i < offsets.size(); ++i) offsets[i] = static_cast<std::int64_t>(i) * 10;
  std::vector<std::uint16_t> codes(kTokens);
  for (std::size_t i = 0; i < codes.size(); ++i) codes[i] = i % kCentroids;
  std::vector<std::uint8_t> residuals(kTokens * kDim / 4), norms(kTokens);
  std::vector<std::uint32_t> pids(kPassages), found, best(kTokens);
  std::iota(pids.begin(), pids.end(), 0U);
  std::vector<float> result(kCentroids * kQuery + kTokens * kDim);

  const weft::Matrix<float> Q{query.data(), kQuery, kDim}, C{centroids.data(), kCentroids, kDim};
  const weft::Matrix<float> S{scores.data(), kCentroids, kQuery}, E{tokens.data(), kTokens, kDim};
  const weft::Passages passages{offsets, pids.data(), kPassages};
  const weft::Codes K{codes.data(), nullptr, kTokens};
  const weft::CodedTokens coded{K, {residuals.data(), kTokens, kDim / 4}, norms};
  const weft::Buckets buckets{weights, 2, 0.1, 1.0};
  const weft::InvertedLists lists{{}, true, offsets, {best.data(), best.size()}};
  float* out = result.data();

  int failures = 0;
  failures += exhaust("centroid_scores", [&] { return centroid_scores(C, Q, kThreads, out); });
  failures += exhaust("top_centroids", [&] { return top_centroids(S, 8, best.data()); });
  failures += exhaust("topk", [&] { return weft::topk(scores, 50, best.data()); });
  std::fill(best.begin(), best.end(), 0U);
  failures += exhaust("candidates", [&] {
    return weft::candidates(pids, lists, kPassages, nullptr, &found);
  });
  failures += exhaust("interaction", [&] {
    return weft::centroid_interaction(S, K, passages, 0.1F, kThreads, out);
  });
  failures += exhaust("maxsim", [&] {
    return weft::maxsim(Q, {tokens.data(), nullptr, kTokens, kDim}, passages, kThreads, out);
  });
  failures += exhaust("maxsim_residual", [&] {
    return weft::maxsim_residual(Q, S, coded, buckets, passages, kThreads, out);
  });
  failures += exhaust("assign", [&] {
    return weft::assign({E.data, nullptr, kTokens, kDim}, C, kThreads, best.data(), out);
  });
  const std::vector<std::int64_t> cell_offsets = {0, 2, kCentroids};
  const weft::Cells cells{{centroids.data(), 2, kDim}, cell_offsets};
  const weft::Embeddings rows{E.data, nullptr, kTokens, kDim};
  failures += exhaust("assign_cells", [&] {
    return weft::assign_cells(rows, C, cells, 2, kThreads, best.data(), out);
  });
  failures += exhaust("sum_rows", [&] {
    return weft::sum_rows(rows, K, kCentroids, kThreads, out);
  });
  failures += exhaust("squared_lengths", [&] {
    return weft::squared_lengths(rows, kThreads, out);
  });
  failures += exhaust("compress", [&] {
    return weft::compress(rows, C, K, cutoffs, buckets, kThreads, residuals.data(), norms.data());
  });
  failures += exhaust("decompress", [&] {
    return weft::decompress(coded, C, buckets, kThreads, out);
  });
  return failures;
}

// A coded segment, and a codec that it was made with.
struct Coded {
  Coded() {
    for (std::size_t i = 0; i < codes.size(); ++i) {
      codes[i] = static_cast<std::uint16_t>(i * 7 % kCentroids);
      residuals[i * kDim / 4] = static_cast<std::uint8_t>(i);
    }
    for (std::size_t i = 0; i < offsets.size(); ++i) offsets[i] = static_cast<std::int64_t>(i) * 10;
    for (std::int64_t c = 0; c < kCentroids; ++c) {
      starts.push_back(static_cast<std::int64_t>(pids.size()));
      for (std::size_t i = 0; i < codes.size(); ++i) {
        if (codes[i] == c) pids.push_back(static_cast<std::uint32_t>(i / 10));
      }
    }
    starts.push_back(static_cast<std::int64_t>(pids.size()));
    const weft::Matrix<std::uint8_t> rows{residuals.data(), kTokens, kDim / 4};
    segment.tokens = {{codes.data(), nullptr, kTokens}, rows, norms};
    segment.offsets = offsets;
    segment.lists = {{}, true, starts, pids};
    segment.n_centroids = kCentroids;
  }

  weft::Status prepare(weft::SearchCodec* codec) const {
    const weft::Matrix<float> rows{centroids.data(), kCentroids, kDim};
    const weft::Matrix<float> turn{rotation.data(), 4, 4};
    return weft::SearchCodec::make(rows, {weights, 2, 0.5, 2.0}, nullptr, &turn, codec);
  }

  weft::Status search(const weft::SearchCodec& codec, std::int64_t n_query,
                      weft::Found* found) const {
    const std::vector<weft::SearchedSegment> segments{{&segment, nullptr}, {&segment, nullptr}};
    const weft::SearchLimits limits{8, 300, 200, 50, kThreads};
    return codec.search({query.data(), n_query, kDim}, segments, limits, found);
  }

  std::vector<float> centroids = numbers(kCentroids * kDim), query = numbers(kQuery * kDim);
  std::vector<float> weights = {-0.2F, -0.1F, 0.1F, 0.2F}, rotation = numbers(16);
  std::vector<std::uint16_t> codes = std::vector<std::uint16_t>(kTokens);
  std::vector<std::uint8_t> residuals = std::vector<std::uint8_t>(kTokens * kDim / 4);
  std::vector<std::uint8_t> norms = std::vector<std::uint8_t>(kTokens, 90);
  std::vector<std::int64_t> offsets = std::vector<std::int64_t>(kPassages + 1), starts;
  std::vector<std::uint32_t> pids;
  weft::CodedSegment segment;
};

bool same(const weft::Found& a, const weft::Found& b) {
  return a.segments == b.segments && a.pids == b.pids && a.scores == b.scores &&
         !a.pids.empty() && b.unchecked.empty();
}

// A codec whose memory has run out many times answers as one that is new.
int check_search_memory(const Coded& coded) {
  weft::SearchCodec codec, other;
  int failures = exhaust("SearchCodec::make", [&] { return coded.prepare(&codec); });
  failures += exhaust("search with a new codec", [&] {
    weft::SearchCodec fresh;
    weft::Found found;
    const weft::Status status = coded.prepare(&fresh);
    return status.ok() ? coded.search(fresh, kQuery, &found) : status;
  });
  failures += exhaust("search", [&] {
    weft::Found found;
    return coded.search(codec, kQuery, &found);
  });
  weft::Found found, expected;
  if (!coded.prepare(&other).ok() || !coded.search(other, kQuery, &expected).ok()) ++failures;
  if (!coded.search(codec, kQuery, &found).ok() || !same(found, expected)) {
    return fail("search answers otherwise after its memory ran out");
  }
  return failures;
}

// Threads that ask different things of one codec, each with the pool's help.
int check_searchers(const Coded& coded) {
  constexpr int kCallers = 6, kTimes = 6;
  weft::SearchCodec codec;
  if (!coded.prepare(&codec).ok()) return fail("SearchCodec::make");
  std::vector<weft::Found> expected(kQuery);
  for (std::int64_t n = 1; n <= kQuery; ++n) {
    weft::Found& found = expected[static_cast<std::size_t>(n - 1)];
    if (!coded.search(codec, n, &found).ok()) return fail("search");
  }
  std::atomic<int> mistakes{0};
  std::vector<std::thread> callers;
  for (int i = 0; i < kCallers; ++i) {
    callers.emplace_back([&, i] {
      for (int time = 0; time < kTimes; ++time) {
        const std::int64_t n = (i * 5 + time * 3) % kQuery;
        weft::Found found;
        if (!coded.search(codec, n + 1, &found).ok()) ++mistakes;
        if (!same(found, expected[static_cast<std::size_t>(n)])) ++mistakes;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  return mistakes == 0 ? 0 : fail("searches at once answer otherwise than alone");
}

// The first look-up must not undo a choice that another thread makes meanwhile.
int check_targets() {
  constexpr int kCallers = 8;
  std::barrier start(kCallers);
  std::atomic<int> mistakes{0};
  std::vector<std::thread> callers;
  for (int i = 0; i < kCallers; ++i) {
    callers.emplace_back([&, i] {
      std::string_view name;
      start.arrive_and_wait();
      const bool chooses = i == kCallers / 2;
      const weft::Status status =
          chooses ? weft::set_target("baseline") : weft::active_target(&name);
      if (!status.ok()) ++mistakes;
    });
  }
  for (std::thread& caller : callers) caller.join();
  std::string_view name;
  if (!weft::active_target(&name).ok() || name != "baseline") ++mistakes;
  return mistakes == 0 ? 0 : fail("another target than the one that was set");
}

}  // namespace

int main() {
  int failures = check_targets();
  const Coded coded;
  for (const std::string_view target : weft::targets()) {
    if (!weft::set_target(target).ok()) ++failures;
    failures += check_memory() + check_search_memory(coded) + check_searchers(coded);
  }
  return failures == 0 ? 0 : 1;
}
