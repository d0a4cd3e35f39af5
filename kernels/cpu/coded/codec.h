// A codec in bytes, and the memories of the queries that run with it.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "cpu/buffer.h"
#include "cpu/coded/memory.h"
#include "cpu/coded/query_bytes.h"
#include "cpu/coded/rotated_query.h"
#include "weft/arrays.h"
#include "weft/coded_search.h"
#include "weft/status.h"

namespace weft::cpu {

// Rows in bytes: row = low + scale * bytes, each with a scale of its own.
class CodedRows {
 public:
  CodedRows() = default;
  explicit CodedRows(const Matrix<float>& rows);

  std::int64_t width() const { return width_; }
  std::int64_t size() const { return static_cast<std::int64_t>(scales_.size()); }
  const std::uint8_t* row(std::int64_t i) const { return bytes_->data() + i * width_; }
  const RowScale* scales() const { return scales_.data(); }
  float longest() const { return longest_; }  // the greatest norm of a row

 private:
  std::int64_t width_ = 0;
  std::vector<RowScale> scales_;
  std::unique_ptr<Buffer<std::uint8_t>> bytes_;
  float longest_ = 0;
};

// The coarse cells of a codec of many centroids. Cell c holds the centroids [offsets[c],
// offsets[c + 1]).
struct CodedCells {
  CodedRows rows;
  std::vector<std::int64_t> offsets;
  std::vector<std::uint32_t> cell_of;  // [K]

  std::int64_t size() const { return rows.size(); }
};

class CodedCodec {
 public:
  // cells: of a codec that has them; used if there are more than kMostExhaustive centroids.
  // rotation: of queries, before they are compared with centroids; nullptr leaves them.
  CodedCodec(const Matrix<float>& float_centroids, const Buckets& float_buckets,
             const CentroidCells* cells, const Matrix<float>* rotation);

  // Below, looking at all centroids costs less than what looking at some of them loses.
  static constexpr std::int64_t kMostExhaustive = std::int64_t{1} << 16;

  std::int64_t n_centroids() const { return centroids.rows; }
  std::int64_t dim() const { return centroids.columns; }

  std::unique_ptr<Memory> take_memory() const;
  void give_back(std::unique_ptr<Memory> memory) const;

  Matrix<float> centroids;
  Buckets buckets;
  ResidualLayout layout;
  CodedRows rows;                             // the centroids
  std::optional<CodedCells> cells;
  BlockRotation rotation;
  std::array<std::uint8_t, 256> weights{};    // weight = low + scale * byte
  RowScale weight_scale{};
  RowScale inverse_norm_scale{};              // inverse norm = low + scale * byte

 private:
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
