// The implementations that this build holds and this machine can run, and the number of threads.
#pragma once

#include <string_view>
#include <vector>

#include "weft/status.h"

namespace weft {

// Names, the plainest first: "baseline", then "avx2", "avx512" where the processor and the
// operating system have them.
std::vector<std::string_view> targets();

// The target that runs the kernels: the last of targets(), or what the environment variable
// WEFT_TARGET names when first asked. Invalid value: that name is not among targets().
Status active_target(std::string_view* name);

// Switches the whole process. Invalid value: the name is not among targets().
Status set_target(std::string_view name);

// The threads that `threads = 0` stands for: the environment variable WEFT_THREADS, or the cores
// that this process may use. Invalid value: WEFT_THREADS is no number of 1 to kMaxThreads.
Status default_threads(int* threads);

}  // namespace weft
