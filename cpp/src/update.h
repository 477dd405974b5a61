#pragma once

#include <cstdint>
#include <vector>

#include "relprop/maximize.h"

namespace relprop {

void check_update(const Update& update);

// The update rule of one row and what it remembers between steps.
class Updater {
 public:
  Updater(const Update& update, std::int64_t size);

  // Writes the x of step t + 1 to `next`; false if a value of it is not finite. Bounds may be null.
  bool step(std::int64_t t, const float* x, const float* gradient, const float* low,
            const float* high, float* next);

 private:
  double rate(std::int64_t t) const;
  void adam(std::int64_t t, const float* x, const float* gradient, float* next);

  const Update* update_;
  std::int64_t size_;
  std::vector<float> first_, second_;  // velocity, or Adam's moments
};

}  // namespace relprop
