// Binds search on a device.
#pragma once

#include <nanobind/nanobind.h>

namespace weft::bindings {

void bind_device_search(nanobind::module_& m);

}  // namespace weft::bindings
