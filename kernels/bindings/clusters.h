#pragma once

#include <nanobind/nanobind.h>

namespace weft::bindings {

// assign_cells and sum_rows; their contract stands in kernels/residual.py.
void bind_clusters(nanobind::module_& m);

}  // namespace weft::bindings
