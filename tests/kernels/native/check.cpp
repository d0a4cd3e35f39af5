// What Python cannot bring about: allocations that fail inside the pool's threads, and a target
// that is chosen by several threads at once. Built with sanitizers only; ends with 1 on a mistake.
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
#include "weft/maxsim.h"
#include "weft/residual.h"
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
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

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
    return weft::assign(E, C, kThreads, best.data(), out);
  });
  failures += exhaust("compress", [&] {
    return weft::compress(E, C, K, cutoffs, buckets, kThreads, residuals.data(), norms.data());
  });
  failures += exhaust("decompress", [&] {
    return weft::decompress(coded, C, buckets, kThreads, out);
  });
  return failures;
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
  for (const std::string_view target : weft::targets()) {
    if (!weft::set_target(target).ok()) ++failures;
    failures += check_memory();
  }
  return failures == 0 ? 0 : 1;
}
