#include "weft/crc32c.h"

#include "cpu/targets.h"

namespace weft {

Status crc32c(std::span<const std::uint8_t> buffer, std::int64_t block_bytes,
              std::uint32_t* checksums) {
  const cpu::Primitives* primitives = nullptr;
  if (Status status = cpu::active_primitives(&primitives); !status.ok()) return status;
  primitives->crc32c(buffer.data(), static_cast<std::int64_t>(buffer.size()), block_bytes,
                     checksums);
  return {};
}

}  // namespace weft
