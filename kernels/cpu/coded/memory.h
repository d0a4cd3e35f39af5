// Working memory that one query after the other uses: it grows and is never given back.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "cpu/buffer.h"
#include "cpu/primitives.h"

namespace weft::cpu {

// An array that keeps its memory; its contents are lost whenever more is asked for.
template <typename T>
class Scratch {
 public:
  T* resize(std::int64_t size) {
    if (size > capacity_) {
      buffer_ = std::make_unique<Buffer<T>>(size + size / 4);
      capacity_ = size + size / 4;
    }
    size_ = size;
    return data();
  }

  // Room for `size` elements, of which the first `kept` stay.
  T* grow(std::int64_t kept, std::int64_t size) {
    if (size > capacity_) {
      auto larger = std::make_unique<Buffer<T>>(2 * size);
      std::copy_n(data(), kept, larger->data());
      buffer_ = std::move(larger);
      capacity_ = 2 * size;
    }
    size_ = size;
    return data();
  }

  T* data() { return buffer_ ? buffer_->data() : nullptr; }
  const T* data() const { return buffer_ ? buffer_->data() : nullptr; }
  T& operator[](std::int64_t i) { return data()[i]; }
  const T& operator[](std::int64_t i) const { return data()[i]; }
  std::int64_t size() const { return size_; }

 private:
  std::unique_ptr<Buffer<T>> buffer_;
  std::int64_t capacity_ = 0;
  std::int64_t size_ = 0;
};

// Asks for memory that will be read soon; it arrives while other work is done. Line by line: what
// does not begin with a line ends in one more than its length tells.
inline void prefetch(const void* begin, std::int64_t bytes) {
  constexpr std::uintptr_t kLine = 64;
  const auto first = reinterpret_cast<std::uintptr_t>(begin);
  const std::uintptr_t end = first + static_cast<std::uintptr_t>(bytes);
  for (std::uintptr_t line = first & ~(kLine - 1); line < end; line += kLine) {
    __builtin_prefetch(reinterpret_cast<const void*>(line), 0, 3);
  }
}

// A centroid and how well it scored with a query vector: (255 - byte) << 32 | centroid, so that
// the best comes first and the lower number in a tie.
using Probe = std::uint64_t;

// A passage and its score: inverted score << 32 | place, so that the best comes first.
using Key = std::uint64_t;

// What is left of a probed inverted list, and what it gives the passages in it.
struct Postings {
  const std::uint32_t* next;
  const std::uint32_t* end;
  std::uint32_t gain;
};

// Where a key's passage is.
struct Located {
  std::int64_t number;  // of its segment
  std::int64_t begin;   // its rows
  std::int64_t end;
};

// Centroids [begin, end).
struct CentroidRange {
  std::int64_t begin;
  std::int64_t end;
};

struct Ranked {
  float score;
  std::int64_t place;

  bool operator<(const Ranked& other) const {
    return score != other.score ? score > other.score : place < other.place;
  }
};

struct WorkerMemory {
  Scratch<std::int32_t> tile;
  Scratch<std::uint8_t> rows;
  Scratch<std::uint32_t> codes;
  Scratch<float> inverse_norms;
  Scratch<float> floats;
  Scratch<float> float_tile;
  Scratch<float> best;
  Scratch<std::uint64_t> hits;
  std::int64_t n_hits = 0;
  Scratch<Postings> postings;
  Scratch<std::uint8_t> gains;  // [passages of a block], zero between query vectors
  Scratch<std::uint16_t> sums;
};

struct Memory {
  // The query in bytes.
  Scratch<std::int8_t> query;           // panels in the order of components
  Scratch<std::int8_t> residual_query;  // panels in the order of unpacked residuals
  Scratch<float> columns;               // see QueryBytes
  Scratch<float> panels;                // the query in float32

  // Scores of centroids.
  Scratch<std::uint8_t> table;   // [K + C, columns], of centroids and then of cells
  Scratch<CentroidRange> ranges;          // the centroids whose rows of the table are filled
  Scratch<std::uint32_t> cell_rows;       // [C], see Search::to_table_rows; empty: all are filled
  Scratch<std::uint8_t> limits;  // [columns]: bytes above are worth a probe
  Scratch<std::uint8_t> sample;
  Scratch<RowScale> sample_scales;
  Scratch<float> moments;          // see fit_bytes
  Scratch<float> lowest;           // see ScoreBytes
  Scratch<float> byte_scales;      // see ColumnScales
  Scratch<float> residual_scales;  // see rescore
  Scratch<std::uint64_t> hits;
  Scratch<Probe> probes;
  Scratch<std::int64_t> probe_counts;
  Scratch<std::int64_t> probe_begins;
  Scratch<std::int64_t> probe_ends;

  // Passages.
  Scratch<std::int64_t> places;
  Scratch<Postings> postings;
  Scratch<std::int64_t> posting_ends;  // of each column
  Scratch<std::uint32_t> words;        // what a passage has gained
  Scratch<std::uint32_t> word_sample;
  Scratch<Key> keys;
  Scratch<Located> located;
  Scratch<float> scores;
  Scratch<Ranked> ranked;

  std::vector<WorkerMemory> workers;
};

}  // namespace weft::cpu
