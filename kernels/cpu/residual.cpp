#include "weft/residual.h"

#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "cpu/buffer.h"
#include "cpu/finite.h"
#include "cpu/inverse_norms.h"
#include "cpu/packing.h"
#include "cpu/passages.h"
#include "cpu/targets.h"
#include "cpu/thread_pool.h"

namespace weft {
namespace {

using cpu::Buffer;

constexpr std::int64_t kRowsPerChunk = 256;

// |centroid + weights|^2 in float64 and in a fixed order: the same on every target.
double squared_norm(const float* centroid, const float* weights, std::int64_t dim) {
  double sums[4] = {};
  std::int64_t d = 0;
  for (; d + 4 <= dim; d += 4) {
    for (std::int64_t lane = 0; lane < 4; ++lane) {
      const double restored = centroid[d + lane] + weights[d + lane];
      sums[lane] += restored * restored;
    }
  }
  for (; d < dim; ++d) {
    const double restored = centroid[d] + weights[d];
    sums[0] += restored * restored;
  }
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

// What one thread works in: a row as floats, its bucket codes and their weights.
struct RowScratch {
  explicit RowScratch(std::int64_t dim) : floats(dim), codes(dim), weights(dim) {}

  Buffer<float> floats;
  Buffer<std::uint8_t> codes;
  Buffer<float> weights;
};

struct Compression {
  const cpu::Primitives& primitives;
  const Embeddings& embeddings;
  const Matrix<float>& centroids;
  std::span<const float> cutoffs;
  const Buckets& buckets;

  Status compress_row(std::int64_t i, std::uint32_t code, RowScratch& scratch,
                      std::uint8_t* residual, std::uint8_t* inverse_norm) const {
    const std::int64_t dim = embeddings.dim;
    const float* centroid = centroids.row(code);
    const float* embedding = floats(i, scratch);
    if (!cpu::all_finite(embedding, dim)) {
      return Status::invalid_value("embeddings: row " + std::to_string(i) +
                                   " holds NaN or infinity");
    }
    primitives.bucketize(embedding, centroid, dim, cutoffs.data(),
                         static_cast<std::int64_t>(cutoffs.size()), scratch.codes.data());
    cpu::pack_row(scratch.codes.data(), dim, buckets.bits, residual);
    primitives.look_up_weights(residual, 1, dim, buckets.bits, buckets.weights.data(),
                               scratch.weights.data());
    const double norm = std::sqrt(squared_norm(centroid, scratch.weights.data(), dim));
    if (!std::isfinite(norm)) {
      return Status::invalid_value("centroids: row " + std::to_string(code) +
                                   " holds NaN, infinity or overflows");
    }
    *inverse_norm = cpu::inverse_norm_byte(1.0 / norm, buckets);
    return {};
  }

  const float* floats(std::int64_t i, RowScratch& scratch) const {
    const std::int64_t dim = embeddings.dim;
    if (embeddings.floats != nullptr) return embeddings.floats + i * dim;
    primitives.halves_to_floats(embeddings.halves + i * dim, dim, scratch.floats.data());
    return scratch.floats.data();
  }
};

Status compress_all(const Compression& compression, const Codes& codes, int threads,
                    std::uint8_t* residuals, std::uint8_t* inverse_norms) {
  const std::int64_t dim = compression.embeddings.dim;
  const std::int64_t row_bytes = bytes_per_row(dim, compression.buckets.bits);
  const cpu::Partition partition(codes.size, kRowsPerChunk, threads);
  std::vector<RowScratch> scratches;
  for (int w = 0; w < partition.workers; ++w) scratches.emplace_back(dim);
  return cpu::parallel_for(partition, [&](std::int64_t begin, std::int64_t end, int worker) {
    RowScratch& scratch = scratches[static_cast<std::size_t>(worker)];
    std::uint32_t copy[kRowsPerChunk];
    Status status = cpu::read_codes(codes, {begin, end}, compression.centroids.rows, copy);
    for (std::int64_t i = begin; i < end && status.ok(); ++i) {
      status = compression.compress_row(i, copy[i - begin], scratch, residuals + i * row_bytes,
                                        inverse_norms + i);
    }
    return status;
  });
}

void restore_row(const float* centroid, std::int64_t dim, float inverse_norm, float* row) {
  for (std::int64_t d = 0; d < dim; ++d) row[d] = (centroid[d] + row[d]) * inverse_norm;
}

Status decompress_all(const cpu::Primitives& primitives, const CodedTokens& tokens,
                      const Matrix<float>& centroids, const Buckets& buckets, int threads,
                      float* embeddings) {
  const std::int64_t dim = centroids.columns;
  const std::array<float, 256> norm_values = cpu::inverse_norm_values(buckets);
  const cpu::Partition partition(tokens.codes.size, kRowsPerChunk, threads);
  return cpu::parallel_for(partition, [&](std::int64_t begin, std::int64_t end, int) {
    std::uint32_t copy[kRowsPerChunk];
    Status status = cpu::read_codes(tokens.codes, {begin, end}, centroids.rows, copy);
    if (!status.ok()) return status;
    primitives.look_up_weights(tokens.residuals.row(begin), end - begin, dim, buckets.bits,
                               buckets.weights.data(), embeddings + begin * dim);
    for (std::int64_t i = begin; i < end; ++i) {
      const std::uint8_t byte = tokens.inverse_norms[static_cast<std::size_t>(i)];
      restore_row(centroids.row(copy[i - begin]), dim, norm_values[byte], embeddings + i * dim);
    }
    return status;
  });
}

}  // namespace

Status compress(const Embeddings& embeddings, const Matrix<float>& centroids,
                const Codes& codes, std::span<const float> cutoffs, const Buckets& buckets,
                int threads, std::uint8_t* residuals, std::uint8_t* inverse_norms) {
  const cpu::Primitives* primitives = nullptr;
  if (Status status = cpu::active_primitives(&primitives); !status.ok()) return status;
  if (Status status = cpu::resolve_threads(threads, &threads); !status.ok()) return status;
  return cpu::without_exceptions([&] {
    const Compression compression{*primitives, embeddings, centroids, cutoffs, buckets};
    return compress_all(compression, codes, threads, residuals, inverse_norms);
  });
}

Status decompress(const CodedTokens& tokens, const Matrix<float>& centroids,
                  const Buckets& buckets, int threads, float* embeddings) {
  const cpu::Primitives* primitives = nullptr;
  if (Status status = cpu::active_primitives(&primitives); !status.ok()) return status;
  if (Status status = cpu::resolve_threads(threads, &threads); !status.ok()) return status;
  return cpu::without_exceptions([&] {
    return decompress_all(*primitives, tokens, centroids, buckets, threads, embeddings);
  });
}

}  // namespace weft
