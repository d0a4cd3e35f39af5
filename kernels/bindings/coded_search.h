#pragma once

#include <nanobind/nanobind.h>

namespace weft::bindings {

// SearchCodec and CodedSegment; their contract stands in kernels/coded_search.py.
void bind_coded_search(nanobind::module_& m);

}  // namespace weft::bindings
