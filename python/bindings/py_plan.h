#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "arrays.h"
#include "bindings.h"
#include "relprop/plan.h"

namespace relprop::python {

// A plan and the workspaces of its past callers, so that later calls need no new memory.
class PyPlan {
 public:
  PyPlan(const PyModel& model, const std::vector<Rule>& rules, PlanOptions options)
      : plan_(compile(model, rules, options, node_shapes_)) {}

  const Plan& plan() const { return plan_; }
  const Shape& node_shape(int node, const std::string& what) const {
    const int count = static_cast<int>(node_shapes_.size());
    if (node < 0 || node >= count) {
      throw py::value_error(what + " node " + std::to_string(node) + "; accepted: 0 to " +
                            std::to_string(count - 1));
    }
    return node_shapes_[static_cast<std::size_t>(node)];
  }

  // A workspace for the duration of one call. Needs no GIL.
  class Lease {
   public:
    explicit Lease(PyPlan& owner) : owner_(owner), workspace_(owner.take()) {}
    ~Lease() { owner_.give_back(std::move(workspace_)); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    Workspace& operator*() const { return *workspace_; }

   private:
    PyPlan& owner_;
    std::unique_ptr<Workspace> workspace_;
  };

 private:
  // More callers at once than this are rare; what they used is freed instead of kept.
  static constexpr std::size_t kKeptWorkspaces = 16;

  static Plan compile(const PyModel& model, const std::vector<Rule>& rules, PlanOptions options,
                      std::vector<Shape>& shapes) {
    const py::gil_scoped_release release;
    const std::shared_lock lock(model.mutex);
    for (const Node& node : model.model.nodes()) shapes.push_back(node.shape);
    return Plan(model.model, rules, options);
  }

  std::unique_ptr<Workspace> take() {
    {
      const std::lock_guard lock(mutex_);
      if (!idle_.empty()) {
        std::unique_ptr<Workspace> workspace = std::move(idle_.back());
        idle_.pop_back();
        return workspace;
      }
    }
    return std::make_unique<Workspace>();
  }
  void give_back(std::unique_ptr<Workspace> workspace) {
    const std::lock_guard lock(mutex_);
    if (idle_.size() < idle_.capacity()) idle_.push_back(std::move(workspace));
  }
  static std::vector<std::unique_ptr<Workspace>> room() {
    std::vector<std::unique_ptr<Workspace>> idle;
    idle.reserve(kKeptWorkspaces);
    return idle;
  }

  std::vector<Shape> node_shapes_;
  Plan plan_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Workspace>> idle_ = room();
};

// More threads than this are a mistake, and libgomp ends the process when it cannot start them.
inline constexpr int kMaxThreads = 1024;

inline void check_threads(int n_threads) {
  if (n_threads < 0 || n_threads > kMaxThreads) {
    throw py::value_error("n_threads = " + std::to_string(n_threads) + "; accepted: 1 to " +
                          std::to_string(kMaxThreads) + ", or 0 for all cores");
  }
}

}  // namespace relprop::python
