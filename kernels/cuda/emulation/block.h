// A block of threads on the host: runs a kernel's body phase by phase, thread by thread, in an
// order that a test chooses. A body that gives other results in another order has a race.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "weft/device/bytes.h"
#include "weft/device/hd.h"

namespace weft::device {

enum class Order : int { kForward, kBackward, kShuffled };

// The i-th of n that has its turn; n is a power of two where shuffled.
inline int turn(Order order, int i, int n) {
  switch (order) {
    case Order::kForward: return i;
    case Order::kBackward: return n - 1 - i;
    case Order::kShuffled: return (i * 13 + 5) % n;  // 13 has no factor in common with 2^x
  }
  return i;
}

class HostWarp {
 public:
  HostWarp(int number, Order order) : number_(number), order_(order) {}

  int number() const { return number_; }

  template <typename Body>
  void lanes(Body&& body) {
    for (int i = 0; i < 32; ++i) body(number_ * 32 + turn(order_, i, 32));
  }

  // Fragments as the PTX manual lays them out for mma.m16n8k32 on bytes: lane l holds of a the
  // rows l/4 and l/4 + 8, of b the column l/4, of both four components from 4 * (l % 4) and from
  // there + 16; of c the columns 2 * (l % 4) and the next.
  template <typename C, typename A, typename B>
  void multiply_bytes(C&& c_of, A&& a_of, B&& b_of) {
    std::int32_t a[16][32];
    std::int32_t b[8][32];
    for (int lane = 0; lane < 32; ++lane) {
      const std::uint32_t* words_a = a_of(number_ * 32 + lane);
      const std::uint32_t* words_b = b_of(number_ * 32 + lane);
      for (int i = 0; i < 16; ++i) {
        const int shift = i % 4 * 8;
        const int k = lane % 4 * 4 + i % 4;
        a[lane / 4 + i / 4 % 2 * 8][k + i / 8 * 16] =
            static_cast<std::uint8_t>(words_a[i / 4] >> shift);
        if (i < 8) {
          b[lane / 4][k + i / 4 * 16] = static_cast<std::int8_t>(words_b[i / 4] >> shift);
        }
      }
    }
    add_products<std::int32_t, 32>(a, b, c_of);
  }

  // The same of mma.m16n8k16 on bfloat16, two components in a word.
  template <typename C, typename A, typename B>
  void multiply_bfloats(C&& c_of, A&& a_of, B&& b_of) {
    float a[16][16];
    float b[8][16];
    for (int lane = 0; lane < 32; ++lane) {
      const std::uint32_t* words_a = a_of(number_ * 32 + lane);
      const std::uint32_t* words_b = b_of(number_ * 32 + lane);
      for (int i = 0; i < 8; ++i) {
        const int shift = i % 2 * 16;
        const int k = lane % 4 * 2 + i % 2;
        a[lane / 4 + i / 2 % 2 * 8][k + i / 4 * 8] =
            bfloat_value(static_cast<std::uint16_t>(words_a[i / 2] >> shift));
        if (i < 4) {
          b[lane / 4][k + i / 2 * 8] =
              bfloat_value(static_cast<std::uint16_t>(words_b[i / 2] >> shift));
        }
      }
    }
    add_products<float, 16>(a, b, c_of);
  }

  template <typename T, typename Value, typename Combine>
  void exchange(int mask, Value&& value_of, Combine&& combine) {
    T before[32];
    for (int lane = 0; lane < 32; ++lane) before[lane] = value_of(number_ * 32 + lane);
    for (int lane = 0; lane < 32; ++lane) {
      value_of(number_ * 32 + lane) = combine(before[lane], before[lane ^ mask]);
    }
  }

 private:
  template <typename T, int kDepth, typename C>
  void add_products(const T (&a)[16][kDepth], const T (&b)[8][kDepth], C&& c_of) {
    for (int row = 0; row < 16; ++row) {
      for (int column = 0; column < 8; ++column) {
        T sum = 0;
        for (int k = 0; k < kDepth; ++k) sum += a[row][k] * b[column][k];
        c_of(number_ * 32 + row % 8 * 4 + column / 2)[row / 8 * 2 + column % 2] += sum;
      }
    }
  }

  int number_;
  Order order_;
};

struct HostGrid {
  std::uint32_t x = 1;
  std::uint32_t y = 1;
  std::uint32_t z = 1;
};

template <int kN>
class HostBlock {
 public:
  static constexpr int kThreads = kN;
  static_assert((kN & (kN - 1)) == 0 && kN >= 32);

  template <typename T>
  class PerThread {
   public:
    PerThread() : values_(kN) {
      std::memset(static_cast<void*>(values_.data()), 0xA5, kN * sizeof(T));  // registers, unset
    }
    T& operator[](int thread) { return values_[static_cast<std::size_t>(thread)]; }

   private:
    std::vector<T> values_;
  };

  HostBlock(HostGrid place, HostGrid grid, Order order)
      : place_(place), grid_(grid), order_(order), fetches_(kN) {}

  std::uint32_t x() const { return place_.x; }
  std::uint32_t y() const { return place_.y; }
  std::uint32_t z() const { return place_.z; }
  std::uint32_t count_x() const { return grid_.x; }
  std::uint32_t count_y() const { return grid_.y; }

  template <typename Body>
  void threads(Body&& body) {
    for (int i = 0; i < kN; ++i) body(turn(order_, i, kN));
  }

  template <typename Body>
  void warps(Body&& body) {
    for (int i = 0; i < kN / 32; ++i) {
      HostWarp warp(turn(order_, i, kN / 32), order_);
      body(warp);
    }
  }

  void sync() {}

  // Nothing arrives before it is waited for, so that a missing wait shows.
  void fetch_16(void* shared, const void* global) { open_.push_back({shared, global}); }
  void end_group(int thread) {
    fetches_[static_cast<std::size_t>(thread)].push_back(std::move(open_));
    open_.clear();
  }
  template <int kPending>
  void wait_groups(int thread) {
    auto& groups = fetches_[static_cast<std::size_t>(thread)];
    while (groups.size() > kPending) {
      for (const Fetch& fetch : groups.front()) std::memcpy(fetch.shared, fetch.global, 16);
      groups.erase(groups.begin());
    }
  }

 private:
  struct Fetch {
    void* shared;
    const void* global;
  };

  HostGrid place_;
  HostGrid grid_;
  Order order_;
  std::vector<Fetch> open_;  // of the thread that runs; it closes them before the next one's turn
  std::vector<std::vector<std::vector<Fetch>>> fetches_;
};

}  // namespace weft::device
