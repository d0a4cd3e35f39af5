// Binds what steers the device on the host.
#pragma once

#include <nanobind/nanobind.h>

#include "cuda/emulation/control.h"

namespace weft::bindings {

inline void bind_emulation(nanobind::module_& m) {
  namespace nb = nanobind;
  using cuda::Emulation;
  nb::enum_<device::Order>(m, "Order")
      .value("forward", device::Order::kForward)
      .value("backward", device::Order::kBackward)
      .value("shuffled", device::Order::kShuffled);
  nb::class_<Emulation>(m, "Emulation")
      .def_rw("n_devices", &Emulation::n_devices)
      .def_rw("memory_bytes", &Emulation::memory_bytes)
      .def_rw("order", &Emulation::order)
      .def_rw("fail_after", &Emulation::fail_after)
      .def_rw("fail_for_memory", &Emulation::fail_for_memory)
      .def_rw("fail_once", &Emulation::fail_once)
      .def_rw("n_calls", &Emulation::n_calls)
      .def_ro("used_bytes", &Emulation::used_bytes)
      .def_ro("n_overruns", &Emulation::n_overruns)
      .def_ro("n_launches", &Emulation::n_launches)
      .def_ro("n_recorded", &Emulation::n_recorded);
  m.def("emulation", &cuda::emulation, nb::rv_policy::reference);
}

}  // namespace weft::bindings
