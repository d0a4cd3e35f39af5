// Rows of bucket codes to packed bytes and back.
#pragma once

#include <cstdint>

namespace weft::cpu {

// Packs dim codes, each below 2^bits; see weft/residual.h for the order of the bits.
void pack_row(const std::uint8_t* codes, std::int64_t dim, int bits, std::uint8_t* packed);

void unpack_row(const std::uint8_t* packed, std::int64_t dim, int bits, std::uint8_t* codes);

}  // namespace weft::cpu
