// The table of primitives that runs now.
#pragma once

#include "cpu/primitives.h"
#include "weft/status.h"
#include "weft/targets.h"

namespace weft::cpu {

// Invalid value: WEFT_TARGET names a target that this machine cannot run.
Status active_primitives(const Primitives** primitives);

}  // namespace weft::cpu
