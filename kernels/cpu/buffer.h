// Working memory of a kernel.
#pragma once

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>

namespace weft::cpu {

inline constexpr std::size_t kHugePage = std::size_t{1} << 21;

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

// Where memory for so many bytes begins: on a cache line's boundary, or on that of a huge page.
inline std::align_val_t alignment_of(std::size_t bytes) {
  return std::align_val_t{bytes < kHugePage ? std::size_t{64} : kHugePage};
}

inline void* allocate(std::size_t bytes) {
  void* const memory = ::operator new(bytes, alignment_of(bytes));
#if defined(__linux__)
  // Rows are visited in no order: with small pages, finding out where they are takes longer than
  // reading them. Refusal does no harm.
  if (bytes >= kHugePage) (void)madvise(memory, bytes, MADV_HUGEPAGE);
#endif
  return memory;
}

// Uninitialised memory; throws std::bad_alloc.
template <typename T>
class Buffer {
 public:
  explicit Buffer(std::int64_t size) : Buffer(size, 1) {}
  Buffer(std::int64_t rows, std::int64_t columns)
      : data_(nullptr, Delete{checked_bytes(rows, columns, sizeof(T))}) {
    data_.reset(static_cast<T*>(allocate(data_.get_deleter().bytes)));
  }

  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  T& operator[](std::int64_t i) { return data_.get()[i]; }

 private:
  struct Delete {
    std::size_t bytes;
    void operator()(T* data) const { ::operator delete(data, alignment_of(bytes)); }
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
