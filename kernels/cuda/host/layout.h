// Where the arrays of a search lie in one block of memory.
#pragma once

#include <cstdint>

#include "cuda/body/views.h"
#include "cuda/host/workspace.h"

namespace weft::cuda {

struct Region {
  std::uint8_t* begin = nullptr;
  std::int64_t bytes = 0;
};

struct Regions {
  std::int64_t bytes = 0;  // all of it
  Region input;            // n_vectors, then the queries
  Region counters;         // start at 0
  Region words;            // likewise
  Region gains;            // likewise, before each 32 columns
  Region output;           // outcomes, then ranked keys
};

// Fills the sizes of a view: those of the codec and of the collection are in it.
void fit(const Shape& shape, device::SearchView* view);

// Fills the addresses of a view from `memory` on; nullptr measures only.
Regions lay_out(std::uint8_t* memory, std::int64_t n_queries, device::SearchView* view);

}  // namespace weft::cuda
