#pragma once

#include <cstdint>
#include <vector>

#include "prior_impl.h"
#include "random.h"
#include "relprop/maximize.h"
#include "update.h"

namespace relprop {

// maximize_request.cpp. Throws Error naming what was given and what is accepted.
void check_maximize(const MaximizeRequest& request);

// The ascent of all rows of a checked request. Rows that have stopped leave the batch; those of one
// plan are neighbours, so that a plan takes its rows in one call.
class Ascent {
 public:
  explicit Ascent(const MaximizeRequest& request);

  // False if cancelled.
  bool run();
  std::vector<Prototype> best() const;

 private:
  struct Row {
    std::int64_t objective, restart;
    Random random;
    Updater updater;
    float* x;
    bool climbing = true;
    Stop stop = Stop::steps;
    double highest = 0, probability = 0;
    std::int64_t highest_step = 0;
    std::vector<double> history = {};
  };
  // One plan with its memory.
  struct Network {
    const Plan* plan;
    Workspace workspace;
    std::vector<float> output, start;
  };

  void make_rows();
  void start(Row& row);
  Network& network_of(const Plan* plan);
  std::vector<Row*> climbing();
  bool report(std::int64_t step);

  // Objective, prior and gradient at the x of these rows. step -1: the network sees x itself.
  void evaluate(const std::vector<Row*>& rows, std::int64_t step);
  void look(const std::vector<Row*>& rows, std::int64_t step);
  void climb_network(const std::vector<Row*>& rows, std::size_t begin, std::size_t end);
  void add_prior(const std::vector<Row*>& rows, std::int64_t step);
  void record(Row& row, std::size_t k, bool replace);
  bool goes_on(Row& row, std::int64_t step) const;
  void update(const std::vector<Row*>& rows, std::int64_t step);
  void finish();
  double value_of(const Row& row) const;

  template <class F>
  void for_rows(std::size_t rows, F f) const;

  const MaximizeRequest& request_;
  const Shape& shape_;
  const std::int64_t size_;
  const int threads_;
  const std::int64_t terms_;  // objective and experts
  const bool moved_;          // the network sees another picture than the prior
  std::vector<Row> rows_;
  std::vector<Network> networks_;
  std::vector<float> x_;
  // Of the rows in the batch: what the network sees (then the next x), x, and gradients.
  std::vector<float> seen_, batch_, gradient_, prior_gradient_;
  std::vector<double> values_, log_p_;
  std::vector<TermScratch> scratch_;
};

}  // namespace relprop
