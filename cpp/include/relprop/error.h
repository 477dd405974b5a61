#pragma once

#include <stdexcept>
#include <string>

#include "relprop/export.h"

namespace relprop {

enum class ErrorCode {
  invalid_argument,  // a value, shape or name that cannot be right
  unsupported,       // well-formed, but relprop has no kernel or rule for it
};

// The one exception type that leaves the library. The message names the layer, what was given and
// what is accepted.
class RELPROP_API Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace relprop
