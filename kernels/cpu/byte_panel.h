// The best rows for a few vectors, compared in bytes.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <utility>

#include "cpu/buffer.h"
#include "cpu/byte_rows.h"
#include "cpu/primitives.h"

namespace weft::cpu {

inline constexpr std::int64_t kBytePanelRows = 96;  // whole tiles of twelve that stay in L1
inline constexpr std::int32_t kNoKey = std::numeric_limits<std::int32_t>::min();
inline constexpr std::int32_t kNoScore = kNoKey >> kKeyRowBits;  // below that of every row

struct Scored {
  std::int32_t score;
  std::uint32_t number;
};

// Up to 32 rows of steps side by side, and the best rows of a range for each.
class BytePanel {
 public:
  // `most` is the greatest depth of a search.
  BytePanel(const Primitives& primitives, std::int64_t width, std::int64_t most)
      : primitives_(primitives),
        width_(width),
        bytes_(width_, kBytePanelColumns),
        tile_(kBytePanelRows, kBytePanelColumns),
        keys_(most, kBytePanelColumns),
        best_(most, kBytePanelColumns) {}

  // Column j is to be the row numbered numbers[j], of rows of `width` bytes; 1 to 32 of them.
  template <typename Numbers>
  void fill(const std::uint8_t* rows, const Steps* steps, const Numbers& numbers,
            std::int64_t count) {
    for (std::int64_t j = 0; j < count; ++j) __builtin_prefetch(rows + numbers(j) * width_);
    for (std::int64_t j = 0; j < count; j += kTogether) {
      const std::uint8_t* four[kTogether];
      for (std::int64_t i = 0; i < kTogether; ++i) {
        const std::int64_t number = numbers(std::min(j + i, count - 1));
        four[i] = rows + number * width_;
        biases_[static_cast<std::size_t>(j + i)] = steps[number].sum * 128;
      }
      place(four, bytes_.data() + j * kGroup);
    }
  }

  // The `depth` best rows of [begin, end) for each column, best first, the lower in a tie. Where
  // there are fewer, the score is below what any row has.
  void find(const ByteRows& rows, std::int64_t begin, std::int64_t end, std::int64_t depth) {
    find_keys(rows, begin, std::min(end, begin + kMostKeyRows), depth);
    for (std::int64_t i = 0; i < depth * kBytePanelColumns; ++i) best_[i] = read_key(i, begin);
    while ((begin += kMostKeyRows) < end) {
      find_keys(rows, begin, std::min(end, begin + kMostKeyRows), depth);
      for (std::int64_t i = 0; i < depth * kBytePanelColumns; ++i) merge(i, depth, begin);
    }
  }

  const Scored& best(std::int64_t place, std::int64_t column) const {
    return best_.data()[place * kBytePanelColumns + column];
  }

 private:
  static constexpr std::int64_t kTogether = 4;  // rows transposed at a time
  static constexpr std::int64_t kGroup = 4;     // bytes that stay side by side

  // Groups of the four rows side by side, at every kBytePanelColumns-th place.
  void place(const std::uint8_t* const* rows, std::uint8_t* out) const {
    using Groups = std::uint32_t __attribute__((vector_size(16)));
    std::int64_t d = 0;
    for (; d + 16 <= width_; d += 16) {
      Groups a, b, c, e;
      __builtin_memcpy(&a, rows[0] + d, 16);
      __builtin_memcpy(&b, rows[1] + d, 16);
      __builtin_memcpy(&c, rows[2] + d, 16);
      __builtin_memcpy(&e, rows[3] + d, 16);
      const Groups ab = __builtin_shufflevector(a, b, 0, 4, 1, 5);
      const Groups ba = __builtin_shufflevector(a, b, 2, 6, 3, 7);
      const Groups ce = __builtin_shufflevector(c, e, 0, 4, 1, 5);
      const Groups ec = __builtin_shufflevector(c, e, 2, 6, 3, 7);
      const Groups turned[4] = {__builtin_shufflevector(ab, ce, 0, 1, 4, 5),
                                __builtin_shufflevector(ab, ce, 2, 3, 6, 7),
                                __builtin_shufflevector(ba, ec, 0, 1, 4, 5),
                                __builtin_shufflevector(ba, ec, 2, 3, 6, 7)};
      for (std::int64_t g = 0; g < 4; ++g) {
        __builtin_memcpy(out + (d + g * kGroup) * kBytePanelColumns, &turned[g], 16);
      }
    }
    for (; d < width_; d += kGroup) {
      for (std::int64_t i = 0; i < kTogether; ++i) {
        __builtin_memcpy(out + d * kBytePanelColumns + i * kGroup, rows[i] + d, kGroup);
      }
    }
  }

  void find_keys(const ByteRows& rows, std::int64_t begin, std::int64_t end, std::int64_t depth) {
    const auto* bytes = reinterpret_cast<const std::int8_t*>(bytes_.data());
    std::fill_n(keys_.data(), depth * kBytePanelColumns, kNoKey);
    for (std::int64_t r = begin; r < end; r += kBytePanelRows) {
      const std::int64_t n_rows = std::min(kBytePanelRows, end - r);
      primitives_.dot_bytes(rows.row(r), n_rows, width_, bytes, kBytePanelColumns, tile_.data());
      primitives_.best_keys(tile_.data(), n_rows, kBytePanelColumns, rows.factors.data() + r,
                            biases_.data(), r - begin, depth, keys_.data());
    }
  }

  Scored read_key(std::int64_t i, std::int64_t begin) const {
    const std::int32_t key = keys_.data()[i];
    const auto low = static_cast<std::uint32_t>(key) & (kMostKeyRows - 1);
    return {key >> kKeyRowBits, static_cast<std::uint32_t>(begin + kMostKeyRows - 1 - low)};
  }

  // Later rows have higher numbers: of equal scores the present one stays ahead.
  void merge(std::int64_t i, std::int64_t depth, std::int64_t begin) {
    Scored found = read_key(i, begin);
    for (std::int64_t p = i % kBytePanelColumns; p < depth * kBytePanelColumns;
         p += kBytePanelColumns) {
      if (found.score > best_[p].score) std::swap(found, best_[p]);
    }
  }

  const Primitives& primitives_;
  std::int64_t width_;
  Buffer<std::uint8_t> bytes_;
  alignas(64) std::array<std::int32_t, kBytePanelColumns> biases_{};
  Buffer<std::int32_t> tile_;
  Buffer<std::int32_t> keys_;
  Buffer<Scored> best_;
};

}  // namespace weft::cpu
