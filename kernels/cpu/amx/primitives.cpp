// The AMX target (TILE, INT8; with it all that AVX-512 needs): AVX-512 but for products of bytes.
#include "cpu/primitives.h"

#include "cpu/avx512/bytes.inc"
#include "cpu/amx/tiles.inc"
#include "cpu/avx512/vector.inc"
#include "cpu/avx512/keys.inc"
#include "cpu/simd/crc32c.inc"
#include "cpu/simd/dot.inc"
#include "cpu/simd/keys.inc"
#include "cpu/simd/maxima.inc"
#include "cpu/simd/residual.inc"

namespace weft::cpu {
namespace {

constexpr Primitives with_tiles() {
  Primitives table = {
      .name = "amx",
#include "cpu/simd/table.inc"
  };
  table.dot_bytes = dot_byte_tiles;
  return table;
}

}  // namespace

constinit const Primitives kAmx = with_tiles();

}  // namespace weft::cpu
