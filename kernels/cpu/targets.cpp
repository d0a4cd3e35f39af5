#include "cpu/targets.h"

#if WEFT_X86
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <atomic>
#include <cstdlib>
#include <string>

namespace weft {
namespace {

using cpu::Primitives;

std::atomic<const Primitives*> active{nullptr};

#if WEFT_X86
// These ask the processor and whether the operating system saves its registers.
bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __builtin_cpu_supports("f16c") && __builtin_cpu_supports("sse4.2");
}

bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vnni");
}

// Linux keeps the tiles of no process that has not asked for them; the answer holds for all its
// threads and children.
bool may_use_tiles() {
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;               // XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

bool has_amx() {
  constexpr unsigned kTileAndInt8 = 3U << 24;
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!has_avx512() || __get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  return (d & kTileAndInt8) == kTileAndInt8 && may_use_tiles();
}
#endif

std::vector<const Primitives*> available() {
  std::vector<const Primitives*> tables = {&cpu::kBaseline};
#if WEFT_X86
  __builtin_cpu_init();
  if (has_avx2()) tables.push_back(&cpu::kAvx2);
  if (has_avx512()) tables.push_back(&cpu::kAvx512);
  if (has_amx()) tables.push_back(&cpu::kAmx);
#endif
  return tables;
}

Status find(std::string_view name, const std::string& origin, const Primitives** found) {
  std::string names;
  for (const Primitives* table : available()) {
    if (table->name == name) {
      *found = table;
      return {};
    }
    names += names.empty() ? table->name : std::string(", ") + table->name;
  }
  return Status::invalid_value(origin + ": this machine has no target '" + std::string(name) +
                               "'; it has " + names);
}

}  // namespace

std::vector<std::string_view> targets() {
  std::vector<std::string_view> names;
  for (const Primitives* table : available()) names.emplace_back(table->name);
  return names;
}

Status active_target(std::string_view* name) {
  const Primitives* table = nullptr;
  Status status = cpu::active_primitives(&table);
  if (status.ok()) *name = table->name;
  return status;
}

Status set_target(std::string_view name) {
  const Primitives* table = nullptr;
  Status status = find(name, "name", &table);
  if (status.ok()) active.store(table);
  return status;
}

namespace cpu {

Status active_primitives(const Primitives** primitives) {
  *primitives = active.load();
  if (*primitives != nullptr) return {};
  const char* wanted = std::getenv("WEFT_TARGET");
  if (wanted == nullptr || *wanted == '\0') {
    *primitives = available().back();
  } else if (Status status = find(wanted, "WEFT_TARGET", primitives); !status.ok()) {
    return status;
  }
  const Primitives* before = nullptr;  // set_target may have been quicker
  if (!active.compare_exchange_strong(before, *primitives)) *primitives = before;
  return {};
}

}  // namespace cpu
}  // namespace weft
