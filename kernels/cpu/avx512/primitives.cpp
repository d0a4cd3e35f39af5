// The AVX-512 target (F, BW, DQ, VL, VNNI; with it AVX2, FMA, F16C and SSE4.2).
#include "cpu/primitives.h"

#include "cpu/avx512/bytes.inc"
#include "cpu/avx512/vector.inc"
#include "cpu/avx512/keys.inc"
#include "cpu/simd/crc32c.inc"
#include "cpu/simd/dot.inc"
#include "cpu/simd/keys.inc"
#include "cpu/simd/maxima.inc"
#include "cpu/simd/residual.inc"

namespace weft::cpu {

const Primitives kAvx512 = {
    .name = "avx512",
#include "cpu/simd/table.inc"
};

}  // namespace weft::cpu
