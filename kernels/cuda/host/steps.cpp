#include "cuda/host/steps.h"

#include "cuda/host/kernels.h"

namespace weft::cuda {
namespace {

using device::SearchView;

constexpr std::uint32_t kGroupsPerBlock = 8;  // of columns that a block scores with its centroids
constexpr std::uint32_t kListShares = 8;      // blocks that read a long list

std::uint32_t blocks_for(std::int64_t n, std::int64_t each) {
  return static_cast<std::uint32_t>((n + each - 1) / each);
}

// Launches one after the other until one fails.
class Steps {
 public:
  explicit Steps(Stream& stream) : stream_(stream) {}

  template <typename Kernel>
  void launch(const Kernel& kernel, Grid grid) {
    if (status_.ok()) status_ = stream_.launch(kernel, grid);
  }
  void clear(const Region& region) {
    if (status_.ok()) status_ = stream_.fill(region.begin, 0, region.bytes);
  }
  Status status() const { return status_; }

 private:
  Stream& stream_;
  Status status_;
};

void score_centroids(Steps& steps, const SearchView& view, std::uint32_t n_queries) {
  const std::uint32_t groups = view.columns / device::kGroup * n_queries;
  const Grid columns{view.columns, n_queries};
  steps.launch(device::QuantizeQuery{view}, columns);
  steps.launch(device::FitRange{view}, columns);
  steps.launch(device::FitLimits{view}, columns);
  const std::uint32_t rows =
      blocks_for(view.padded_centroids(), device::ScoreCentroids::kRowsPerBlock);
  steps.launch(device::ScoreCentroids{view, n_queries, kGroupsPerBlock},
               {rows, blocks_for(groups, kGroupsPerBlock)});
}

void find_candidates(Steps& steps, const SearchView& view, const Shape& shape,
                     const Regions& regions, std::uint32_t n_queries) {
  if (shape.all) {
    steps.launch(device::TakeAll{view},
                 {blocks_for(view.n_places, device::TakeAll::kThreads), n_queries});
  } else {
    steps.launch(device::ChooseProbes{view}, {view.columns, view.n_groups, n_queries});
    for (std::uint32_t first = 0; first < view.columns; first += device::kGroup) {
      steps.clear(regions.gains);
      steps.launch(device::Accumulate{view, first},
                   {device::kGroup * view.nprobe, kListShares, n_queries});
    }
  }
  const Grid chunks{view.n_chunks, n_queries};
  steps.launch(device::CountDigits<0>{view}, chunks);
  steps.launch(device::CountDigits<1>{view}, chunks);
  steps.launch(device::CountChosen{view}, chunks);
  steps.launch(device::CollectChosen{view}, chunks);
}

void rescore(Steps& steps, const SearchView& view, Grid passages) {
  switch (view.codec.bits) {
    case 1: return steps.launch(device::Rescore<1>{view}, passages);
    case 2: return steps.launch(device::Rescore<2>{view}, passages);
    case 4: return steps.launch(device::Rescore<4>{view}, passages);
    default: return steps.launch(device::Rescore<8>{view}, passages);
  }
}

}  // namespace

Status enqueue(Stream& stream, const SearchView& view, const Shape& shape,
               const Regions& regions) {
  Steps steps(stream);
  const auto n_queries = static_cast<std::uint32_t>(shape.n_queries);
  const std::uint32_t groups = view.columns / device::kGroup;
  steps.clear(regions.counters);
  steps.clear(regions.words);
  score_centroids(steps, view, n_queries);
  find_candidates(steps, view, shape, regions, n_queries);
  steps.launch(device::Interact{view},
               {blocks_for(view.n_candidates, device::Interact::kThreads / 32), n_queries});
  steps.launch(device::KeepBest{view}, {n_queries});
  rescore(steps, view, {view.n_rescored, groups, n_queries});
  steps.launch(device::Rank<false>{view}, {n_queries});
  if (view.n_exact > 0) {
    steps.launch(device::ScoreExactly{view}, {view.n_exact, groups, n_queries});
    steps.launch(device::Rank<true>{view}, {n_queries});
  }
  return steps.status();
}

}  // namespace weft::cuda
