// weft.kernels._cuda: kernels on a GPU. Built a second time with the host in the place of the
// device, as weft.kernels._cuda_emulated, for tests.
#include "bindings/device_build.h"
#include "bindings/device_search.h"

#if WEFT_EMULATED
#include "bindings/emulation.h"
#endif

NB_MODULE(WEFT_MODULE, m) {
  m.doc() = "Kernels on a GPU; the contracts stand in weft.kernels.cuda_search.";
  weft::bindings::bind_device_search(m);
  weft::bindings::bind_device_build(m);
#if WEFT_EMULATED
  weft::bindings::bind_emulation(m);
#endif
}
