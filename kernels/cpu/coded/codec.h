// A codec in bytes, and the memories of the queries that run with it.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "cpu/buffer.h"
#include "cpu/coded/memory.h"
#include "cpu/coded/query_bytes.h"
#include "weft/arrays.h"
#include "weft/status.h"

namespace weft::cpu {

class CodedCodec {
 public:
  CodedCodec(const Matrix<float>& float_centroids, const Buckets& float_buckets);

  std::int64_t n_centroids() const { return centroids.rows; }
  std::int64_t dim() const { return centroids.columns; }
  std::int64_t row_bytes() const { return padded(dim(), 4); }
  const std::uint8_t* row(std::int64_t i) const { return bytes_.data() + i * row_bytes(); }

  std::unique_ptr<Memory> take_memory() const;
  void give_back(std::unique_ptr<Memory> memory) const;

  Matrix<float> centroids;
  Buckets buckets;
  ResidualLayout layout;
  std::vector<RowScale> row_scales;           // centroid = low + scale * bytes
  float longest = 0;                          // the greatest norm of a centroid
  std::array<std::uint8_t, 256> weights{};    // weight = low + scale * byte
  RowScale weight_scale{};
  RowScale inverse_norm_scale{};              // inverse norm = low + scale * byte

 private:
  void quantize_row(std::int64_t i);

  Buffer<std::uint8_t> bytes_;
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Memory>> idle_;
};

// A memory for the time of a query.
class BorrowedMemory {
 public:
  explicit BorrowedMemory(const CodedCodec& codec) : codec_(codec), memory_(codec.take_memory()) {}
  ~BorrowedMemory() { codec_.give_back(std::move(memory_)); }
  BorrowedMemory(const BorrowedMemory&) = delete;
  BorrowedMemory& operator=(const BorrowedMemory&) = delete;
  Memory& operator*() { return *memory_; }

 private:
  const CodedCodec& codec_;
  std::unique_ptr<Memory> memory_;
};

}  // namespace weft::cpu
