#include <cmath>
#include <string>

#include "ascent.h"
#include "objective.h"
#include "relprop/error.h"
#include "relprop/finite.h"
#include "view.h"

namespace relprop {
namespace {

[[noreturn]] void refuse(const std::string& message) {
  throw Error(ErrorCode::invalid_argument, message);
}

void require_at_least(const char* name, std::int64_t value, std::int64_t least) {
  if (value < least)
    refuse(std::string(name) + " = " + std::to_string(value) +
           "; accepted: " + std::to_string(least) + " or more");
}

void check_objectives(const MaximizeRequest& request) {
  for (std::size_t k = 0; k < request.objectives.size(); ++k) {
    const Objective& objective = request.objectives[k];
    const std::string what = "objective " + std::to_string(k);
    if (objective.plan == nullptr) refuse(what + " has no plan");
    if (!objective.plan->gives_gradient())
      refuse(what +
             ": accepted are plans made with RuleKind::gradient for every node and an "
             "output that is no softmax");
    if (const Shape& shape = objective.plan->input_shape();
        shape != request.objectives[0].plan->input_shape())
      refuse(what + " belongs to a network with inputs " + to_string(shape) + "; accepted: " +
             to_string(request.objectives[0].plan->input_shape()) + ", as the first");
    check_objective(objective, what);
  }
}

void check_values(const char* name, const std::vector<float>& values, std::int64_t count) {
  if (values.empty()) return;
  if (static_cast<std::int64_t>(values.size()) != count)
    refuse(std::string(name) + " has " + std::to_string(values.size()) +
           " values; accepted: " + std::to_string(count));
  if (!all_finite(values.data(), count)) refuse(std::string(name) + " has NaN or infinite values");
}

void check_start(const MaximizeRequest& request, std::int64_t size) {
  const auto given = static_cast<std::int64_t>(request.initial.size());
  const std::int64_t rows = static_cast<std::int64_t>(request.objectives.size()) * request.restarts;
  check_values("initial", request.initial, given == size ? size : rows * size);
  if (!std::isfinite(request.noise) || request.noise < 0)
    refuse("noise = " + std::to_string(request.noise) + "; accepted: a finite number, 0 or more");
}

// Bounds may be infinite on their own side.
void check_box(const MaximizeRequest& request, std::int64_t size) {
  for (const auto& [name, values] : {std::pair{"low", &request.low}, {"high", &request.high}}) {
    if (!values->empty() && static_cast<std::int64_t>(values->size()) != size)
      refuse(std::string(name) + " has " + std::to_string(values->size()) +
             " values; accepted: " + std::to_string(size));
    for (float v : *values)
      if (std::isnan(v)) refuse(std::string(name) + " has NaN values");
  }
  if (request.low.empty() || request.high.empty()) return;
  for (std::size_t i = 0; i < request.low.size(); ++i)
    if (!(request.low[i] <= request.high[i]))
      refuse("the box is empty at value " + std::to_string(i) + ": low " +
             std::to_string(request.low[i]) + ", high " + std::to_string(request.high[i]));
}

}  // namespace

void check_maximize(const MaximizeRequest& request) {
  if (request.objectives.empty()) return;
  check_objectives(request);
  const Shape& shape = request.objectives[0].plan->input_shape();
  const std::int64_t size = size_of(shape);
  require_at_least("steps", request.steps, 1);
  require_at_least("restarts", request.restarts, 1);
  require_at_least("patience", request.patience, 0);
  require_at_least("n_threads", request.n_threads, 0);
  if (!std::isfinite(request.tolerance) || request.tolerance < 0)
    refuse("tolerance = " + std::to_string(request.tolerance) +
           "; accepted: a finite number, 0 or more");
  if (request.prior && request.prior->shape() != shape)
    refuse("the prior is for inputs " + to_string(request.prior->shape()) + "; the network takes " +
           to_string(shape));
  check_update(request.update);
  check_view(request.view, shape);
  check_start(request, size);
  check_box(request, size);
}

}  // namespace relprop
