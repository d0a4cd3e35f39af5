#include "cuda/host/builder.h"

#include <unistd.h>

#include <algorithm>
#include <string>

#include "cuda/host/kernels.h"

namespace weft::cuda {
namespace {

constexpr std::int64_t kChunkRows = std::int64_t{1} << 20;
constexpr std::int64_t kMostBlocks = 65536;  // of a kernel whose blocks go round

std::uint32_t blocks_for(std::int64_t n, std::int64_t each) {
  return static_cast<std::uint32_t>((n + each - 1) / each);
}

// What the flag of the kernels stands for.
Status explain(std::uint32_t failed) {
  switch (failed) {
    case 0: return {};
    case 1: return Status::invalid_value("embeddings: holds NaN or infinity");
    case 2: return Status::invalid_value("embeddings: one has no finite best score");
    case 3: return Status::invalid_value("centroids: one holds NaN, infinity or overflows");
    default: return Status::invalid_value("embeddings: a component is not within [-2, 2]");
  }
}

}  // namespace

template <typename T>
Status Builder::reserve(Memory* memory, std::int64_t n) {
  const std::int64_t bytes = n * static_cast<std::int64_t>(sizeof(T));
  if (bytes <= memory->bytes()) return {};
  *memory = Memory();
  return Memory::on_device(bytes, memory);
}

Status Builder::make(int device, const Matrix<float>& centroids,
                     std::unique_ptr<Builder>* result) {
  if (Status status = use_device(device); !status.ok()) return status;
  auto made = std::make_unique<Builder>();
  made->device_ = device;
  made->process_ = getpid();
  made->n_centroids_ = centroids.rows;
  made->dim_ = centroids.columns;
  constexpr std::int64_t kStageParts = device::kAssignDepth / device::kPart;
  made->parts_ = static_cast<std::uint32_t>(
      device::padded_to(blocks_for(centroids.columns, device::kPart), kStageParts));
  const std::int64_t n = centroids.rows * centroids.columns;
  Status status = Stream::make(&made->stream_);
  if (status.ok()) status = made->reserve<float>(&made->centroids_, n);
  if (status.ok()) status = made->reserve<std::uint32_t>(&made->failed_, 1);
  if (status.ok()) {
    status = made->stream_.copy_in(made->centroids_.as<void>(), centroids.data,
                                   n * static_cast<std::int64_t>(sizeof(float)));
  }
  if (status.ok()) status = made->stream_.wait();
  if (status.ok()) *result = std::move(made);
  return status;
}

Status Builder::begin() {
  if (getpid() != process_) {
    return Status::device_failed("this process was forked from one that had opened the device");
  }
  return use_device(device_);
}

Status Builder::begin(const Embeddings& embeddings) {
  if (embeddings.dim != dim_) {
    return Status::invalid_value("embeddings: expected " + std::to_string(dim_) +
                                 " components, as centroids have, got " +
                                 std::to_string(embeddings.dim));
  }
  if (Status status = begin(); !status.ok()) return status;
  return stream_.fill(failed_.as<void>(), 0, sizeof(std::uint32_t));
}

Status Builder::for_chunks(const Embeddings& embeddings, const Work& work) {
  const std::int64_t width = embeddings.floats != nullptr ? 4 : 2;
  const auto* const bytes = embeddings.floats != nullptr
                                ? reinterpret_cast<const std::uint8_t*>(embeddings.floats)
                                : reinterpret_cast<const std::uint8_t*>(embeddings.halves);
  for (std::int64_t first = 0; first < embeddings.rows; first += kChunkRows) {
    const std::int64_t n = std::min(kChunkRows, embeddings.rows - first);
    Status status = reserve<std::uint8_t>(&rows_, n * dim_ * width);
    if (status.ok()) {
      status = stream_.copy_in(rows_.as<void>(), bytes + first * dim_ * width, n * dim_ * width);
    }
    if (!status.ok()) return status;
    device::RowsView rows{nullptr, nullptr, n, static_cast<std::uint32_t>(dim_)};
    if (embeddings.floats != nullptr) rows.floats = rows_.as<const float>();
    if (embeddings.floats == nullptr) rows.halves = rows_.as<const std::uint16_t>();
    status = work(rows, first);
    if (status.ok()) status = stream_.wait();
    if (!status.ok()) return status;
  }
  return outcome();
}

Status Builder::outcome() {
  std::uint32_t failed = 0;
  Status status = stream_.copy_out(&failed, failed_.as<void>(), sizeof failed);
  if (status.ok()) status = stream_.wait();
  return status.ok() ? explain(failed) : status;
}

Status Builder::tile_centroids() {
  const std::int64_t rows = device::padded_to(n_centroids_, device::kAssignColumns);
  const std::int64_t size = rows * parts_ * device::kPart;
  if (Status status = reserve<std::uint16_t>(&centroid_tiles_, size); !status.ok()) return status;
  const device::RowsView view{centroids_.as<const float>(), nullptr, n_centroids_,
                              static_cast<std::uint32_t>(dim_)};
  const Grid grid{static_cast<std::uint32_t>(
      std::min<std::int64_t>(blocks_for(size, device::ToBfloats::kThreads), kMostBlocks))};
  return stream_.launch(device::ToBfloats{view, centroid_tiles_.as<std::uint16_t>(), rows, parts_,
                                          failed_.as<std::uint32_t>()},
                        grid);
}

Status Builder::assign_chunk(const device::RowsView& rows) {
  const std::int64_t padded = device::padded_to(rows.n, device::kAssignRows);
  const std::int64_t size = padded * parts_ * device::kPart;
  Status status = reserve<std::uint16_t>(&row_tiles_, size);
  if (status.ok()) status = reserve<device::Contenders>(&found_, rows.n);
  if (status.ok()) status = reserve<std::uint32_t>(&codes_, rows.n);
  if (status.ok()) status = reserve<float>(&scores_, rows.n);
  if (!status.ok()) return status;
  const Grid all{static_cast<std::uint32_t>(
      std::min<std::int64_t>(blocks_for(size, device::ToBfloats::kThreads), kMostBlocks))};
  status = stream_.launch(device::ToBfloats{rows, row_tiles_.as<std::uint16_t>(), padded, parts_,
                                            failed_.as<std::uint32_t>()},
                          all);
  if (!status.ok()) return status;
  const auto run = [&](auto kernel) {
    kernel.rows = row_tiles_.as<const std::uint16_t>();
    kernel.centroids = centroid_tiles_.as<const std::uint16_t>();
    kernel.n_centroids = static_cast<std::uint32_t>(n_centroids_);
    kernel.parts = parts_;
    kernel.n_rows = rows.n;
    kernel.found = found_.as<device::Contenders>();
    return stream_.launch(kernel, {blocks_for(padded, device::kAssignRows)});
  };
  const bool whole = parts_ * device::kPart == device::kAssignDepth;
  status = whole ? run(device::Assign<true>{}) : run(device::Assign<false>{});
  if (!status.ok()) return status;
  const device::ChooseBetter choose{rows,
                                    centroids_.as<const float>(),
                                    found_.as<const device::Contenders>(),
                                    codes_.as<std::uint32_t>(),
                                    scores_.as<float>(),
                                    failed_.as<std::uint32_t>()};
  return stream_.launch(choose, {blocks_for(rows.n, device::ChooseBetter::kThreads / 32)});
}

Status Builder::assign(const Embeddings& embeddings, std::uint32_t* codes, float* scores) {
  Status status = begin(embeddings);
  if (status.ok()) status = tile_centroids();
  if (!status.ok()) return status;
  return for_chunks(embeddings, [&](const device::RowsView& rows, std::int64_t first) {
    Status done = assign_chunk(rows);
    if (done.ok()) done = stream_.copy_out(codes + first, codes_.as<void>(), rows.n * 4);
    if (done.ok()) done = stream_.copy_out(scores + first, scores_.as<void>(), rows.n * 4);
    return done;
  });
}

Status Builder::compress(const Embeddings& embeddings, const std::uint32_t* codes,
                         std::span<const float> cutoffs, const Buckets& buckets,
                         std::uint8_t* residuals, std::uint8_t* inverse_norms) {
  for (std::int64_t i = 0; i < embeddings.rows; ++i) {
    if (codes[i] < n_centroids_) continue;
    return Status::invalid_value("codes: " + std::to_string(codes[i]) + " is not below " +
                                 std::to_string(n_centroids_));
  }
  const std::int64_t width = (dim_ * buckets.bits + 7) / 8;
  const auto n_cutoffs = static_cast<std::int64_t>(cutoffs.size());
  Status status = begin(embeddings);
  if (status.ok()) status = reserve<float>(&tables_, 2 * n_cutoffs + 1);
  if (!status.ok()) return status;
  float* const weights = tables_.as<float>() + n_cutoffs;
  status = stream_.copy_in(tables_.as<void>(), cutoffs.data(), n_cutoffs * 4);
  if (status.ok()) status = stream_.copy_in(weights, buckets.weights.data(), (n_cutoffs + 1) * 4);
  if (!status.ok()) return status;
  return for_chunks(embeddings, [&](const device::RowsView& rows, std::int64_t first) {
    Status done = reserve<std::uint32_t>(&codes_, rows.n);
    if (done.ok()) done = reserve<std::uint8_t>(&residuals_, rows.n * width);
    if (done.ok()) done = reserve<std::uint8_t>(&inverse_norms_, rows.n);
    if (done.ok()) done = stream_.copy_in(codes_.as<void>(), codes + first, rows.n * 4);
    if (!done.ok()) return done;
    const device::Compress kernel{rows,
                                  centroids_.as<const float>(),
                                  static_cast<std::uint32_t>(n_centroids_),
                                  codes_.as<const std::uint32_t>(),
                                  tables_.as<const float>(),
                                  weights,
                                  buckets.bits,
                                  buckets.inverse_norm_low,
                                  buckets.inverse_norm_high,
                                  residuals_.as<std::uint8_t>(),
                                  inverse_norms_.as<std::uint8_t>(),
                                  failed_.as<std::uint32_t>()};
    done = stream_.launch(kernel, {blocks_for(rows.n, device::Compress::kRows)});
    if (done.ok()) {
      done = stream_.copy_out(residuals + first * width, residuals_.as<void>(), rows.n * width);
    }
    if (done.ok()) {
      done = stream_.copy_out(inverse_norms + first, inverse_norms_.as<void>(), rows.n);
    }
    return done;
  });
}

Status Builder::refine(const Embeddings& embeddings, int iterations) {
  Status status = begin(embeddings);
  if (status.ok()) status = reserve<std::int64_t>(&sums_, n_centroids_ * dim_);
  if (status.ok()) status = reserve<std::uint32_t>(&counts_, n_centroids_);
  for (int i = 0; i < iterations && status.ok(); ++i) {
    status = tile_centroids();
    if (status.ok()) status = stream_.fill(sums_.as<void>(), 0, n_centroids_ * dim_ * 8);
    if (status.ok()) status = stream_.fill(counts_.as<void>(), 0, n_centroids_ * 4);
    if (!status.ok()) return status;
    status = for_chunks(embeddings, [&](const device::RowsView& rows, std::int64_t) {
      Status done = assign_chunk(rows);
      if (!done.ok()) return done;
      const device::SumRows sum{rows, codes_.as<const std::uint32_t>(),
                                sums_.as<std::int64_t>(), counts_.as<std::uint32_t>(),
                                failed_.as<std::uint32_t>()};
      return stream_.launch(sum, {blocks_for(rows.n, device::SumRows::kThreads / 32)});
    });
    if (!status.ok()) return status;
    status = stream_.launch(device::Recentre{sums_.as<const std::int64_t>(),
                                             centroids_.as<float>(),
                                             static_cast<std::uint32_t>(dim_)},
                            {static_cast<std::uint32_t>(n_centroids_)});
  }
  if (status.ok()) status = stream_.wait();
  return status;
}

Status Builder::settled(Status status) {
  if (!status.ok() && getpid() == process_) (void)stream_.wait();
  return status;
}

Status Builder::read(float* centroids) {
  Status status = begin();
  if (status.ok()) {
    status = stream_.copy_out(centroids, centroids_.as<void>(), n_centroids_ * dim_ * 4);
  }
  if (status.ok()) status = stream_.wait();
  return status;
}

}  // namespace weft::cuda

namespace weft {

DeviceBuilder::DeviceBuilder() = default;
DeviceBuilder::DeviceBuilder(DeviceBuilder&&) noexcept = default;
DeviceBuilder& DeviceBuilder::operator=(DeviceBuilder&&) noexcept = default;
DeviceBuilder::~DeviceBuilder() = default;

Status DeviceBuilder::make(int device, const Matrix<float>& centroids, DeviceBuilder* builder) {
  if (centroids.rows < 1 || centroids.rows >= std::int64_t{1} << 31 || centroids.columns < 1 ||
      centroids.columns > kMaxDeviceDim) {
    return Status::invalid_value("centroids: expected 1 to 2147483647 of dim 1 to " +
                                 std::to_string(kMaxDeviceDim));
  }
  return cuda::without_exceptions(
      [&] { return cuda::Builder::make(device, centroids, &builder->builder_); });
}

Status DeviceBuilder::assign(const Embeddings& embeddings, std::uint32_t* codes, float* scores) {
  return cuda::without_exceptions(
      [&] { return builder_->settled(builder_->assign(embeddings, codes, scores)); });
}

Status DeviceBuilder::compress(const Embeddings& embeddings, const std::uint32_t* codes,
                               std::span<const float> cutoffs, const Buckets& buckets,
                               std::uint8_t* residuals, std::uint8_t* inverse_norms) {
  return cuda::without_exceptions([&] {
    return builder_->settled(
        builder_->compress(embeddings, codes, cutoffs, buckets, residuals, inverse_norms));
  });
}

Status DeviceBuilder::refine(const Embeddings& embeddings, int iterations) {
  return cuda::without_exceptions(
      [&] { return builder_->settled(builder_->refine(embeddings, iterations)); });
}

Status DeviceBuilder::read(float* centroids) {
  return cuda::without_exceptions([&] { return builder_->settled(builder_->read(centroids)); });
}

}  // namespace weft
