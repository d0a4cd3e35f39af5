// The working memory of a batch of queries, its stream, and the graphs recorded in it.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <span>
#include <utility>

#include "cuda/body/views.h"
#include "cuda/host/runtime.h"
#include "cuda/host/segment.h"
#include "weft/device_search.h"

namespace weft::cuda {

// What a graph is good for.
struct Shape {
  std::int64_t n_queries = 1;  // that there is room for
  std::int64_t columns = device::kGroup;
  std::int64_t nprobe = 1;
  std::int64_t n_candidates = 1;
  std::int64_t n_rescored = 1;
  std::int64_t n_exact = 0;
  bool filtered = false;
  bool all = false;  // every passage that may be found is a candidate

  bool operator==(const Shape&) const = default;
};

class Workspace {
 public:
  static Status make(std::unique_ptr<Workspace>* workspace);

  // Queries of at most shape.columns vectors, at most shape.n_queries of them. Where it fails with
  // kDeviceMemory the workspace can be used for something smaller.
  Status search(const device::CodecView& codec,
                const std::shared_ptr<const Collection>& collection, const Shape& shape,
                std::span<const Matrix<float>> queries,
                std::span<const std::uint8_t* const> allowed, Found* found);

 private:
  struct Plan {
    std::shared_ptr<const Collection> collection;
    Shape shape;
    Graph graph;
    device::SearchView view{};
    std::int64_t input_bytes = 0;
    std::int64_t output_bytes = 0;
  };

  Status prepare(const device::CodecView& codec,
                 const std::shared_ptr<const Collection>& collection, const Shape& shape,
                 Plan** plan);
  Status reserve(Memory* memory, std::int64_t bytes, bool pinned);
  Status filter(const Collection& collection, std::span<const std::uint8_t* const> allowed);
  void write_input(const Plan& plan, std::span<const Matrix<float>> queries);
  Status read_output(const Plan& plan, std::size_t n_queries, Found* found) const;

  Stream stream_;
  Memory device_;
  Memory mask_;         // on the device
  Memory pinned_mask_;  // what it holds
  std::int64_t mask_places_ = 0;
  Memory input_;
  Memory output_;
  std::list<Plan> plans_;  // the last used first; destroyed before the stream
};

}  // namespace weft::cuda
