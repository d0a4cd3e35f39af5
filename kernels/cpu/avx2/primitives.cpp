// The AVX2 target (with FMA, F16C and SSE4.2).
#include "cpu/primitives.h"

#include "cpu/avx2/bytes.inc"
#include "cpu/avx2/vector.inc"
#include "cpu/avx2/keys.inc"
#include "cpu/simd/crc32c.inc"
#include "cpu/simd/dot.inc"
#include "cpu/simd/keys.inc"
#include "cpu/simd/maxima.inc"
#include "cpu/simd/residual.inc"

namespace weft::cpu {

const Primitives kAvx2 = {
    .name = "avx2",
#include "cpu/simd/table.inc"
};

}  // namespace weft::cpu
