// The best rows of each column of a matrix of scores.
#pragma once

#include "cpu/primitives.h"
#include "weft/arrays.h"
#include "weft/status.h"

namespace weft::cpu {

// best [columns, k]: for each column the k rows with the highest scores, best first, the lower
// row first in a tie. k is 0 to the number of rows, which is below 2^32. Invalid value: NaN.
Status best_rows(const Primitives& primitives, const Matrix<float>& scores, std::int64_t k,
                 std::uint32_t* best);

}  // namespace weft::cpu
