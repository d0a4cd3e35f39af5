// A block of threads on the device, as kernel bodies see it. `emulation/block.h` is its twin on
// the host; body/README.md says what both offer.
#pragma once

#include <cstdint>

#include "weft/device/hd.h"

namespace weft::device {

// The 32 threads of a warp; each runs the same body.
class DeviceWarp {
 public:
  __device__ __forceinline__ int number() const { return static_cast<int>(threadIdx.x) / 32; }

  template <typename Body>
  __device__ __forceinline__ void lanes(Body&& body) {
    body(static_cast<int>(threadIdx.x));
    __syncwarp();
  }

  // c[16 x 8] += a[16 x 32] * b[32 x 8]; unsigned bytes times signed ones.
  template <typename C, typename A, typename B>
  __device__ __forceinline__ void multiply_bytes(C&& c_of, A&& a_of, B&& b_of) {
    const int thread = static_cast<int>(threadIdx.x);
    std::int32_t* const c = c_of(thread);
    const std::uint32_t* const a = a_of(thread);
    const std::uint32_t* const b = b_of(thread);
    asm volatile(
        "mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }

  // c[16 x 8] += a[16 x 16] * b[16 x 8]; bfloat16 times bfloat16, added up in float32.
  template <typename C, typename A, typename B>
  __device__ __forceinline__ void multiply_bfloats(C&& c_of, A&& a_of, B&& b_of) {
    const int thread = static_cast<int>(threadIdx.x);
    float* const c = c_of(thread);
    const std::uint32_t* const a = a_of(thread);
    const std::uint32_t* const b = b_of(thread);
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }

  // value = combine(value, that of the lane whose number differs in the bits of `mask`).
  template <typename T, typename Value, typename Combine>
  __device__ __forceinline__ void exchange(int mask, Value&& value_of, Combine&& combine) {
    T& value = value_of(static_cast<int>(threadIdx.x));
    value = combine(value, __shfl_xor_sync(0xFFFFFFFFU, value, mask));
  }
};

template <int kN>
class DeviceBlock {
 public:
  static constexpr int kThreads = kN;

  // A variable of each thread.
  template <typename T>
  struct PerThread {
    T value;
    __device__ __forceinline__ T& operator[](int) { return value; }
  };

  __device__ __forceinline__ std::uint32_t x() const { return blockIdx.x; }
  __device__ __forceinline__ std::uint32_t y() const { return blockIdx.y; }
  __device__ __forceinline__ std::uint32_t z() const { return blockIdx.z; }
  __device__ __forceinline__ std::uint32_t count_x() const { return gridDim.x; }
  __device__ __forceinline__ std::uint32_t count_y() const { return gridDim.y; }

  template <typename Body>
  __device__ __forceinline__ void threads(Body&& body) {
    body(static_cast<int>(threadIdx.x));
    __syncthreads();
  }

  template <typename Body>
  __device__ __forceinline__ void warps(Body&& body) {
    DeviceWarp warp;
    body(warp);
    __syncthreads();
  }

  __device__ __forceinline__ void sync() { __syncthreads(); }

  // 16 bytes on their way from global to shared memory, both aligned to 16.
  __device__ __forceinline__ void fetch_16(void* shared, const void* global) {
    const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address), "l"(global)
                 : "memory");
  }
  // Closes a group of fetches of this thread.
  __device__ __forceinline__ void end_group(int) { asm volatile("cp.async.commit_group;" ::); }
  // Waits for all groups of this thread but the newest kPending. Others see them after a barrier.
  template <int kPending>
  __device__ __forceinline__ void wait_groups(int) {
    asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
  }
};

template <typename Kernel>
__global__ void __launch_bounds__(Kernel::kThreads, Kernel::kBlocksPerProcessor)
    run_kernel(const __grid_constant__ Kernel kernel) {
  extern __shared__ __align__(16) unsigned char memory[];
  DeviceBlock<Kernel::kThreads> block;
  kernel(block, *reinterpret_cast<typename Kernel::Shared*>(memory));
}

}  // namespace weft::device
