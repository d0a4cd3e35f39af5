// What lets one header be compiled by nvcc for the device and by the C++ compiler for the host.
//
// WEFT_HD    a small function of numbers, the same on both sides
// WEFT_BODY  part of a kernel's body: __device__ under nvcc; on the host it serves the emulation
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#define WEFT_HD __host__ __device__ __forceinline__
#define WEFT_BODY __device__ __forceinline__
#define WEFT_UNROLL _Pragma("unroll")
#else
#define WEFT_HD inline
#define WEFT_BODY inline
#define WEFT_UNROLL
#endif

namespace weft::device {

WEFT_HD std::uint32_t bits_of(float value) {
#if defined(__CUDA_ARCH__)
  return __float_as_uint(value);
#else
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
#endif
}

WEFT_HD float float_of(std::uint32_t bits) {
#if defined(__CUDA_ARCH__)
  return __uint_as_float(bits);
#else
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
#endif
}

template <typename T>
WEFT_HD T least(T a, T b) {
  return b < a ? b : a;
}

template <typename T>
WEFT_HD T greatest(T a, T b) {
  return a < b ? b : a;
}

WEFT_HD std::int64_t padded_to(std::int64_t n, std::int64_t step) {
  return (n + step - 1) / step * step;
}

WEFT_HD bool is_finite(float value) { return (bits_of(value) & 0x7F800000U) != 0x7F800000U; }

// To the nearest whole number, halves to the even one.
WEFT_HD float nearest(float value) {
#if defined(__CUDA_ARCH__)
  return rintf(value);
#else
  return std::nearbyintf(value);
#endif
}

WEFT_HD double nearest(double value) {
#if defined(__CUDA_ARCH__)
  return rint(value);
#else
  return std::nearbyint(value);
#endif
}

WEFT_HD float fused(float a, float b, float c) {
#if defined(__CUDA_ARCH__)
  return fmaf(a, b, c);
#else
  return std::fmaf(a, b, c);
#endif
}

WEFT_HD float root(float value) {
#if defined(__CUDA_ARCH__)
  return sqrtf(value);
#else
  return std::sqrt(value);
#endif
}

WEFT_HD double root(double value) {
#if defined(__CUDA_ARCH__)
  return sqrt(value);
#else
  return std::sqrt(value);
#endif
}

// The maximum of each of four unsigned bytes.
WEFT_HD std::uint32_t greatest_bytes(std::uint32_t a, std::uint32_t b) {
#if defined(__CUDA_ARCH__)
  return __vmaxu4(a, b);
#else
  std::uint32_t result = 0;
  for (int shift = 0; shift < 32; shift += 8) {
    result |= greatest(a >> shift & 255U, b >> shift & 255U) << shift;
  }
  return result;
#endif
}

WEFT_HD std::uint32_t sum_of_bytes(std::uint32_t word) {
  return (word & 255U) + (word >> 8 & 255U) + (word >> 16 & 255U) + (word >> 24);
}

// sum + the products of four unsigned bytes with four signed ones.
WEFT_HD std::int32_t dot_of_bytes(std::uint32_t a, std::uint32_t b, std::int32_t sum) {
#if defined(__CUDA_ARCH__)
  asm("dp4a.u32.s32 %0, %1, %2, %0;" : "+r"(sum) : "r"(a), "r"(b));
  return sum;
#else
  for (int shift = 0; shift < 32; shift += 8) {
    sum += static_cast<std::int32_t>(a >> shift & 255U) *
           static_cast<std::int8_t>(static_cast<std::uint8_t>(b >> shift & 255U));
  }
  return sum;
#endif
}

// Several blocks may change the same number at once. Each returns what was there before.
WEFT_HD std::uint32_t atomic_add(std::uint32_t* address, std::uint32_t value) {
#if defined(__CUDA_ARCH__)
  return atomicAdd(address, value);
#else
  const std::uint32_t before = *address;
  *address = before + value;
  return before;
#endif
}

WEFT_HD void atomic_add(std::int64_t* address, std::int64_t value) {
#if defined(__CUDA_ARCH__)
  atomicAdd(reinterpret_cast<unsigned long long*>(address),
            static_cast<unsigned long long>(value));
#else
  *address += value;
#endif
}

WEFT_HD void atomic_max(std::uint32_t* address, std::uint32_t value) {
#if defined(__CUDA_ARCH__)
  atomicMax(address, value);
#else
  *address = greatest(*address, value);
#endif
}

WEFT_HD std::uint32_t atomic_swap_if(std::uint32_t* address, std::uint32_t expected,
                                     std::uint32_t value) {
#if defined(__CUDA_ARCH__)
  return atomicCAS(address, expected, value);
#else
  const std::uint32_t before = *address;
  if (before == expected) *address = value;
  return before;
#endif
}

}  // namespace weft::device
