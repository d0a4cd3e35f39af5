// CRC32C in portable code.
#pragma once

#include <cstdint>

namespace weft::cpu {

// As Primitives::crc32c.
void baseline_crc32c(const std::uint8_t* bytes, std::int64_t n_bytes, std::int64_t block_bytes,
                     std::uint32_t* checksums);

}  // namespace weft::cpu
