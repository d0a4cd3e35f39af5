#include "cpu/packing.h"

#include <algorithm>
#include <string>

#include "weft/residual.h"

namespace weft {
namespace cpu {
namespace {

template <int kBits>
void pack_bits(const std::uint8_t* codes, std::int64_t dim, std::uint8_t* packed) {
  constexpr int kPerByte = 8 / kBits;
  const std::int64_t full = dim / kPerByte;
  for (std::int64_t b = 0; b < full; ++b) {
    unsigned byte = 0;
    for (int i = 0; i < kPerByte; ++i) {
      byte |= static_cast<unsigned>(codes[b * kPerByte + i]) << (i * kBits);
    }
    packed[b] = static_cast<std::uint8_t>(byte);
  }
  unsigned last = 0;
  for (std::int64_t d = full * kPerByte; d < dim; ++d) {
    last |= static_cast<unsigned>(codes[d]) << ((d % kPerByte) * kBits);
  }
  if (dim % kPerByte != 0) packed[full] = static_cast<std::uint8_t>(last);
}

}  // namespace

void pack_row(const std::uint8_t* codes, std::int64_t dim, int bits, std::uint8_t* packed) {
  if (bits == 1) pack_bits<1>(codes, dim, packed);
  if (bits == 2) pack_bits<2>(codes, dim, packed);
  if (bits == 4) pack_bits<4>(codes, dim, packed);
  if (bits == 8) pack_bits<8>(codes, dim, packed);
}

void unpack_row(const std::uint8_t* packed, std::int64_t dim, int bits, std::uint8_t* codes) {
  const unsigned mask = (1U << bits) - 1;
  for (std::int64_t d = 0; d < dim; ++d) {
    const std::int64_t bit = d * bits;
    codes[d] = static_cast<std::uint8_t>((packed[bit / 8] >> (bit % 8)) & mask);
  }
}

}  // namespace cpu

Status pack(const Matrix<std::uint8_t>& bucket_codes, int bits, std::uint8_t* packed) {
  const std::int64_t row_bytes = bytes_per_row(bucket_codes.columns, bits);
  for (std::int64_t r = 0; r < bucket_codes.rows; ++r) {
    const std::uint8_t* row = bucket_codes.row(r);
    const std::uint8_t highest = *std::max_element(row, row + bucket_codes.columns);
    if ((highest >> bits) != 0) {
      return Status::invalid_value("bucket_codes: " + std::to_string(highest) +
                                   " is not below " + std::to_string(1 << bits));
    }
    cpu::pack_row(row, bucket_codes.columns, bits, packed + r * row_bytes);
  }
  return {};
}

Status unpack(const Matrix<std::uint8_t>& packed, int bits, std::int64_t dim,
              std::uint8_t* bucket_codes) {
  for (std::int64_t r = 0; r < packed.rows; ++r) {
    cpu::unpack_row(packed.row(r), dim, bits, bucket_codes + r * dim);
  }
  return {};
}

}  // namespace weft
