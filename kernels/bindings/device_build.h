// Binds what building asks of a device.
#pragma once

#include <nanobind/nanobind.h>

namespace weft::bindings {

void bind_device_build(nanobind::module_& m);

}  // namespace weft::bindings
