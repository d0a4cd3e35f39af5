// NumPy arrays in and out of the bindings: checked views of what Python hands in, and owned
// arrays to hand back.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <unistd.h>

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "weft/status.h"
#include "weft/targets.h"

namespace weft::bindings {

namespace nb = nanobind;

// IEEE binary16, as bits.
struct Half {
  std::uint16_t bits;
};

struct Dtype {
  nb::dlpack::dtype type;
  const char* name;
};

template <typename T>
Dtype dtype_of();
template <>
inline Dtype dtype_of<float>() { return {nb::dtype<float>(), "float32"}; }
template <>
inline Dtype dtype_of<Half>() {
  return {{static_cast<std::uint8_t>(nb::dlpack::dtype_code::Float), 16, 1}, "float16"};
}
template <>
inline Dtype dtype_of<bool>() { return {nb::dtype<bool>(), "bool"}; }
template <>
inline Dtype dtype_of<std::uint8_t>() { return {nb::dtype<std::uint8_t>(), "uint8"}; }
template <>
inline Dtype dtype_of<std::uint16_t>() { return {nb::dtype<std::uint16_t>(), "uint16"}; }
template <>
inline Dtype dtype_of<std::uint32_t>() { return {nb::dtype<std::uint32_t>(), "uint32"}; }
template <>
inline Dtype dtype_of<std::int64_t>() { return {nb::dtype<std::int64_t>(), "int64"}; }

[[noreturn]] inline void raise_type(const std::string& message) {
  throw nb::type_error(message.c_str());
}
[[noreturn]] inline void raise_value(const std::string& message) {
  throw nb::value_error(message.c_str());
}

// A C-contiguous array that Python owns; valid as long as this object.
class Array {
 public:
  // TypeError: no array, or of none of the dtypes. ValueError: another rank, gaps in memory,
  // or a misaligned start. A negative rank allows any.
  template <typename... Types>
  static Array take(const char* name, nb::handle object, int rank) {
    Array array(name, object);
    if (!(array.holds<Types>() || ...)) {
      std::string names;
      ((names += (names.empty() ? "" : " or ") + std::string(dtype_of<Types>().name)), ...);
      raise_type(array.name_ + ": expected dtype " + names + ", got another");
    }
    array.require_rank(rank);
    array.require_contiguous();
    array.require_aligned();
    return array;
  }

  template <typename T>
  bool holds() const {
    return view_.dtype() == dtype_of<T>().type;
  }
  template <typename T>
  const T* data() const {
    return static_cast<const T*>(view_.data());
  }
  std::int64_t length(std::size_t axis) const {
    return static_cast<std::int64_t>(view_.shape(axis));
  }
  std::int64_t size() const { return static_cast<std::int64_t>(view_.size()); }
  const std::string& name() const { return name_; }

  void require_length(std::size_t axis, std::int64_t expected, const char* what) const {
    if (length(axis) == expected) return;
    raise_value(name_ + ": expected " + std::to_string(expected) + " " + what + ", got " +
                std::to_string(length(axis)));
  }

 private:
  Array(const char* name, nb::handle object) : name_(name) {
    if (nb::try_cast(object, view_, false)) return;
    raise_type(name_ + ": expected a NumPy array of native byte order, got " +
               nb::cast<std::string>(nb::str(object.type().attr("__name__"))));
  }

  void require_rank(int rank) const {
    if (rank < 0 || view_.ndim() == static_cast<std::size_t>(rank)) return;
    raise_value(name_ + ": expected " + std::to_string(rank) + " dimensions, got " +
                std::to_string(view_.ndim()));
  }

  void require_contiguous() const {
    std::int64_t step = 1;
    for (std::size_t axis = view_.ndim(); axis-- > 0 && view_.size() > 0;) {
      if (length(axis) != 1 && view_.stride(axis) != step) {
        raise_value(name_ + ": must be C-contiguous; pass numpy.ascontiguousarray(" + name_ + ")");
      }
      step *= length(axis);
    }
  }

  void require_aligned() const {
    const auto address = reinterpret_cast<std::uintptr_t>(view_.data());
    if (size() == 0 || address % view_.itemsize() == 0) return;
    raise_value(name_ + ": must be aligned in memory; pass " + name_ + ".copy()");
  }

  std::string name_;
  nb::ndarray<nb::ro, nb::device::cpu> view_;
};

// An uninitialised array that Python will own.
template <typename T>
class NewArray {
 public:
  explicit NewArray(std::int64_t length) : NewArray(length, 1) { rank_ = 1; }
  NewArray(std::int64_t rows, std::int64_t columns)
      : shape_{static_cast<std::size_t>(rows), static_cast<std::size_t>(columns)},
        data_(new T[size_of(rows, columns)]) {}

  T* data() { return data_.get(); }

  nb::object release() {
    nb::capsule owner(data_.get(), [](void* data) noexcept { delete[] static_cast<T*>(data); });
    nb::ndarray<nb::numpy, T> array(data_.release(), rank_, shape_, owner);
    return array.cast();
  }

 private:
  static std::size_t size_of(std::int64_t rows, std::int64_t columns) {
    constexpr std::int64_t kMost =
        std::numeric_limits<std::int64_t>::max() / static_cast<std::int64_t>(sizeof(T));
    if (columns != 0 && rows > kMost / columns) raise_value("the result would not fit in memory");
    return static_cast<std::size_t>(rows * columns);
  }

  std::size_t rank_ = 2;
  std::size_t shape_[2];
  std::unique_ptr<T[]> data_;
};

// An error of a device, by the name that kernels/cuda_errors.py gives it.
[[noreturn]] inline void raise_device(const char* name, const std::string& message) {
  const nb::object type = nb::module_::import_("weft.kernels.cuda_errors").attr(name);
  PyErr_SetString(type.ptr(), message.c_str());
  throw nb::python_error();
}

// Raises what a status says.
inline void check(const Status& status) {
  switch (status.code()) {
    case StatusCode::kOk: return;
    case StatusCode::kInvalidValue: raise_value(status.message());
    case StatusCode::kOutOfMemory: throw std::bad_alloc();
    case StatusCode::kDeviceMemory: raise_device("DeviceMemoryError", status.message());
    case StatusCode::kDeviceFailed: raise_device("DeviceFailedError", status.message());
  }
}

// Takes the GIL again. A daemon thread that comes back while the interpreter finalises is ended by
// Python with pthread_exit, which unwinds the stack: through destructors that want the GIL, and
// into noexcept frames, which abort the process. Such a thread waits here for the process to end.
inline void restore_thread(PyThreadState* thread) {
  try {
    PyEval_RestoreThread(thread);
  } catch (...) {
    while (true) pause();
  }
}

// Runs a kernel without the GIL and raises what its status says. No destructor takes the GIL back:
// none may be left by unwinding. The environment is read before: os.environ writes to it with
// the GIL only.
template <typename Kernel>
void run(Kernel&& kernel) {
  std::string_view target;
  check(active_target(&target));
  Status status;
  PyThreadState* thread = PyEval_SaveThread();
  try {
    status = kernel();
  } catch (...) {
    status = Status::out_of_memory();
  }
  restore_thread(thread);
  check(status);
}

}  // namespace weft::bindings
