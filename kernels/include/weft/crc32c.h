// CRC32C (Castagnoli; RFC 3720, appendix B.4), block by block.
#pragma once

#include <span>

#include "weft/arrays.h"
#include "weft/status.h"

namespace weft {

// checksums[i] of bytes [i * block_bytes, (i + 1) * block_bytes) of the buffer; the last block may
// be shorter.
//   block_bytes  at least 1
//   checksums    uint32 [ceil(n / block_bytes)], written in full
Status crc32c(std::span<const std::uint8_t> buffer, std::int64_t block_bytes,
              std::uint32_t* checksums);

}  // namespace weft
