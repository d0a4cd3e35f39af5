#include "cuda/host/workspace.h"

#include <algorithm>
#include <cstring>

#include "cuda/host/layout.h"
#include "cuda/host/steps.h"

namespace weft::cuda {
namespace {

constexpr std::size_t kMostPlans = 16;

}  // namespace

Status Workspace::make(std::unique_ptr<Workspace>* workspace) {
  auto made = std::make_unique<Workspace>();
  Status status = Stream::make(&made->stream_);
  if (status.ok()) *workspace = std::move(made);
  return status;
}

Status Workspace::search(const device::CodecView& codec,
                         const std::shared_ptr<const Collection>& collection, const Shape& shape,
                         std::span<const Matrix<float>> queries,
                         std::span<const std::uint8_t* const> allowed, Found* found) {
  Status status = shape.filtered ? filter(*collection, allowed) : Status();
  Plan* plan = nullptr;
  if (status.ok()) status = prepare(codec, collection, shape, &plan);
  if (!status.ok()) return status;
  write_input(*plan, queries);
  if (status = stream_.run(plan->graph); !status.ok()) return status;
  if (status = stream_.wait(); !status.ok()) return status;
  return read_output(*plan, queries.size(), found);
}

// Memory that another plan's graph knows by its address goes only together with the plans.
Status Workspace::reserve(Memory* memory, std::int64_t bytes, bool pinned) {
  if (bytes <= memory->bytes()) return {};
  plans_.clear();
  *memory = Memory();
  return pinned ? Memory::pinned(bytes, memory) : Memory::on_device(bytes, memory);
}

// The passages of all segments, one after the other; copied only where they have changed.
Status Workspace::filter(const Collection& collection,
                         std::span<const std::uint8_t* const> allowed) {
  const std::int64_t n = collection.n_places();
  if (n > mask_.bytes() || n > pinned_mask_.bytes()) {
    mask_places_ = 0;
    if (Status status = reserve(&mask_, n, false); !status.ok()) return status;
    if (Status status = reserve(&pinned_mask_, n, true); !status.ok()) return status;
  }
  auto* const flags = pinned_mask_.as<std::uint8_t>();
  bool same = n == mask_places_;
  for (std::int64_t s = 0; s < collection.n_segments(); ++s) {
    std::uint8_t* const begin = flags + collection.place(s);
    const std::uint8_t* const from = allowed[static_cast<std::size_t>(s)];
    const auto bytes = static_cast<std::size_t>(collection.place(s + 1) - collection.place(s));
    if (bytes == 0) continue;
    if (from == nullptr) {
      same = same && std::find(begin, begin + bytes, 0) == begin + bytes;
      if (!same) std::memset(begin, 1, bytes);
    } else {
      same = same && std::memcmp(begin, from, bytes) == 0;
      if (!same) std::memcpy(begin, from, bytes);
    }
  }
  if (same) return {};
  mask_places_ = n;
  return stream_.copy_in(mask_.as<void>(), flags, n);
}

Status Workspace::prepare(const device::CodecView& codec,
                          const std::shared_ptr<const Collection>& collection, const Shape& shape,
                          Plan** plan) {
  const auto found = std::find_if(plans_.begin(), plans_.end(), [&](const Plan& one) {
    return one.collection == collection && one.shape == shape;
  });
  if (found != plans_.end()) {
    plans_.splice(plans_.begin(), plans_, found);
    *plan = &plans_.front();
    return {};
  }
  Plan made{collection, shape, {}, {}, 0, 0};
  made.view.codec = codec;
  collection->fill(&made.view);
  fit(shape, &made.view);
  const Regions needed = lay_out(nullptr, shape.n_queries, &made.view);
  Status status = reserve(&device_, needed.bytes, false);
  if (status.ok()) status = reserve(&input_, needed.input.bytes, true);
  if (status.ok()) status = reserve(&output_, needed.output.bytes, true);
  if (!status.ok()) return status;
  const Regions regions = lay_out(device_.as<std::uint8_t>(), shape.n_queries, &made.view);
  made.view.allowed = shape.filtered ? mask_.as<const std::uint8_t>() : nullptr;
  made.input_bytes = regions.input.bytes;
  made.output_bytes = regions.output.bytes;
  if (status = stream_.begin_recording(); !status.ok()) return status;
  status = stream_.copy_in(regions.input.begin, input_.as<void>(), regions.input.bytes);
  if (status.ok()) status = enqueue(stream_, made.view, shape, regions);
  if (status.ok()) {
    status = stream_.copy_out(output_.as<void>(), regions.output.begin, regions.output.bytes);
  }
  const Status ended = stream_.end_recording(&made.graph);
  if (!status.ok() || !ended.ok()) return status.ok() ? ended : status;
  if (plans_.size() >= kMostPlans) plans_.pop_back();
  plans_.push_front(std::move(made));
  *plan = &plans_.front();
  return {};
}

void Workspace::write_input(const Plan& plan, std::span<const Matrix<float>> queries) {
  auto* const bytes = input_.as<std::uint8_t>();
  auto* const n_vectors = input_.as<std::uint32_t>();
  const std::int64_t size = plan.shape.n_queries * static_cast<std::int64_t>(sizeof(std::uint32_t));
  auto* const rows = reinterpret_cast<float*>(bytes + device::padded_to(size, 256));
  const std::int64_t stride = plan.shape.columns * plan.view.codec.dim;
  for (std::int64_t q = 0; q < plan.shape.n_queries; ++q) {
    const bool asked = q < static_cast<std::int64_t>(queries.size());
    n_vectors[q] = asked ? static_cast<std::uint32_t>(queries[static_cast<std::size_t>(q)].rows) : 0;
    if (!asked) continue;
    const Matrix<float>& query = queries[static_cast<std::size_t>(q)];
    std::copy_n(query.data, query.rows * query.columns, rows + q * stride);
  }
}

Status Workspace::read_output(const Plan& plan, std::size_t n_queries, Found* found) const {
  const auto* const outcomes = output_.as<const device::Outcome>();
  const std::int64_t size =
      plan.shape.n_queries * static_cast<std::int64_t>(sizeof(device::Outcome));
  const auto* const ranked = reinterpret_cast<const std::uint64_t*>(
      output_.as<const std::uint8_t>() + device::padded_to(size, 256));
  const Collection& collection = *plan.collection;
  for (std::size_t q = 0; q < n_queries; ++q) {
    if (outcomes[q].not_a_number != 0) {
      return Status::invalid_value("scores: one is NaN, as no sound vectors give");
    }
    const std::size_t n = outcomes[q].n_found;
    const std::uint64_t* const keys = ranked + q * plan.view.rank_capacity;
    found[q].segments.resize(n);
    found[q].pids.resize(n);
    found[q].scores.resize(n);
    for (std::size_t i = 0; i < n; ++i) {
      const std::int64_t place = static_cast<std::uint32_t>(keys[i]);
      const std::int64_t segment = collection.segment_of(place);
      found[q].segments[i] = static_cast<std::uint32_t>(segment);
      found[q].pids[i] = static_cast<std::uint32_t>(place - collection.place(segment));
      found[q].scores[i] = device::key_score(keys[i]);
    }
  }
  return {};
}

}  // namespace weft::cuda
