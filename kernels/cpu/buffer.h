// Working memory of a kernel.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace weft::cpu {

// Uninitialised memory on a cache line's boundary; throws std::bad_alloc.
template <typename T>
class Buffer {
 public:
  explicit Buffer(std::int64_t size)
      : data_(static_cast<T*>(::operator new(static_cast<std::size_t>(size) * sizeof(T),
                                             std::align_val_t{kAlignment}))) {}

  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  T& operator[](std::int64_t i) { return data_.get()[i]; }

 private:
  static constexpr std::size_t kAlignment = 64;
  struct Delete {
    void operator()(T* data) const { ::operator delete(data, std::align_val_t{kAlignment}); }
  };
  std::unique_ptr<T, Delete> data_;
};

// Runs a function that returns Status; a failed allocation becomes one too.
template <typename Function>
auto without_exceptions(Function&& function) -> decltype(function()) {
  try {
    return function();
  } catch (const std::bad_alloc&) {
    return decltype(function())::out_of_memory();
  }
}

}  // namespace weft::cpu
