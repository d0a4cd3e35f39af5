// What a kernel reports instead of throwing.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

namespace weft {

enum class StatusCode : std::uint8_t {
  kOk,
  kInvalidValue,  // a shape or a value outside its range: ValueError in Python
  kOutOfMemory,   // MemoryError in Python
  kDeviceMemory,  // DeviceMemoryError: the device's memory, or pinned memory, does not suffice
  kDeviceFailed,  // DeviceFailedError: the device or its driver; it may be of no use any more
};

// Every public function returns one. Outputs are unspecified unless it is ok. The message names
// the argument first ("codes: 70000 is not below 65536").
class [[nodiscard]] Status {
 public:
  Status() = default;
  static Status invalid_value(std::string message) {
    return Status(StatusCode::kInvalidValue, std::move(message));
  }
  // Without a message: it is made where nothing can be allocated.
  static Status out_of_memory() noexcept {
    Status status;
    status.code_ = StatusCode::kOutOfMemory;
    return status;
  }

  static Status device_memory(std::string message) {
    Status status = invalid_value(std::move(message));
    status.code_ = StatusCode::kDeviceMemory;
    return status;
  }
  static Status device_failed(std::string message) {
    Status status = invalid_value(std::move(message));
    status.code_ = StatusCode::kDeviceFailed;
    return status;
  }

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }

 private:
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}

  StatusCode code_ = StatusCode::kOk;
  std::string message_;
};

}  // namespace weft
