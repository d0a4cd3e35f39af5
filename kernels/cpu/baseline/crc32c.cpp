// Eight bytes at a time through eight tables, each for one byte's distance from the end
// (Kounavis and Berry 2005, "slicing by 8").
#include "cpu/baseline/crc32c.h"

#include <algorithm>
#include <array>

namespace weft::cpu {
namespace {

constexpr std::uint32_t kPolynomial = 0x82F63B78;  // Castagnoli's, bits reversed
constexpr std::size_t kSlices = 8;

using Tables = std::array<std::array<std::uint32_t, 256>, kSlices>;

constexpr Tables make_tables() {
  Tables tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t state = byte;
    for (int bit = 0; bit < 8; ++bit) state = (state >> 1) ^ ((state & 1) != 0 ? kPolynomial : 0);
    tables[0][byte] = state;
  }
  for (std::size_t slice = 1; slice < kSlices; ++slice) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const std::uint32_t previous = tables[slice - 1][byte];
      tables[slice][byte] = (previous >> 8) ^ tables[0][previous & 255];
    }
  }
  return tables;
}

constexpr Tables kTables = make_tables();

std::uint32_t take_eight(std::uint32_t state, const std::uint8_t* bytes) {
  std::uint32_t next = 0;
  for (std::size_t i = 0; i < kSlices; ++i) {
    const std::uint32_t mixed = i < 4 ? bytes[i] ^ ((state >> (8 * i)) & 255) : bytes[i];
    next ^= kTables[kSlices - 1 - i][mixed];
  }
  return next;
}

std::uint32_t checksum(const std::uint8_t* bytes, std::int64_t n_bytes) {
  std::uint32_t state = ~0U;
  for (; n_bytes >= 8; bytes += 8, n_bytes -= 8) state = take_eight(state, bytes);
  for (; n_bytes > 0; ++bytes, --n_bytes) state = (state >> 8) ^ kTables[0][(state ^ *bytes) & 255];
  return ~state;
}

}  // namespace

void baseline_crc32c(const std::uint8_t* bytes, std::int64_t n_bytes, std::int64_t block_bytes,
                     std::uint32_t* checksums) {
  for (std::int64_t start = 0; start < n_bytes;) {
    const std::int64_t length = std::min(block_bytes, n_bytes - start);
    *checksums++ = checksum(bytes + start, length);
    start += length;
  }
}

}  // namespace weft::cpu
