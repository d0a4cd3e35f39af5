// The launches of a search, in their order.
#pragma once

#include "cuda/host/layout.h"

namespace weft::cuda {

// From the input region to the output region, without waiting for anything.
Status enqueue(Stream& stream, const device::SearchView& view, const Shape& shape,
               const Regions& regions);

}  // namespace weft::cuda
