// Working memory of a kernel.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>

namespace weft::cpu {

// Bytes of rows * columns elements; throws std::bad_array_new_length where no size_t, or no signed
// one, could tell.
inline std::size_t checked_bytes(std::int64_t rows, std::int64_t columns, std::size_t element) {
  const std::int64_t most =
      std::numeric_limits<std::int64_t>::max() / static_cast<std::int64_t>(element);
  if (rows < 0 || columns < 0 || (columns > 0 && rows > most / columns)) {
    throw std::bad_array_new_length();
  }
  return static_cast<std::size_t>(rows * columns) * element;
}

// Uninitialised memory on a cache line's boundary; throws std::bad_alloc.
template <typename T>
class Buffer {
 public:
  explicit Buffer(std::int64_t size) : Buffer(size, 1) {}
  Buffer(std::int64_t rows, std::int64_t columns)
      : data_(static_cast<T*>(::operator new(checked_bytes(rows, columns, sizeof(T)),
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
  } catch (...) {
    return decltype(function())::out_of_memory();
  }
}

}  // namespace weft::cpu
