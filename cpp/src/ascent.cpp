#include "ascent.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "contraction.h"
#include "objective.h"
#include "parallel.h"
#include "view.h"

namespace relprop {
namespace {

constexpr std::uint64_t kStartStream = 0;

bool moves(const View& view) { return view.jitter > 0 || view.scaling > 1; }

// The numbers of a row are those of its objective and restart, wherever it stands in the request.
std::uint64_t key_of(const MaximizeRequest& request, const Objective& objective, std::int64_t node,
                     std::int64_t restart) {
  std::uint64_t key = mix(request.seed, static_cast<std::uint64_t>(objective.kind));
  key = mix(key, static_cast<std::uint64_t>(node));
  key =
      mix(key,
          static_cast<std::uint64_t>(objective.kind == ObjectiveKind::layer ? 0 : objective.index));
  return mix(key, static_cast<std::uint64_t>(restart));
}

}  // namespace

Ascent::Ascent(const MaximizeRequest& request)
    : request_(request),
      shape_(request.objectives.front().plan->input_shape()),
      size_(size_of(shape_)),
      threads_(effective_threads(request.n_threads)),
      terms_(1 + (request.prior ? request.prior->size() : 0)),
      moved_(moves(request.view)) {
  make_rows();
}

template <class F>
void Ascent::for_rows(std::size_t rows, F f) const {
  const auto n = static_cast<std::int64_t>(rows);
  parallel_for(threads_for_values(n * size_, threads_), n,
               [&](std::int64_t k, int) { f(static_cast<std::size_t>(k)); });
}

void Ascent::make_rows() {
  const auto objectives = static_cast<std::int64_t>(request_.objectives.size());
  const std::int64_t count = objectives * request_.restarts;
  x_.resize(static_cast<std::size_t>(count * size_));
  std::vector<std::int64_t> order(request_.objectives.size());
  std::iota(order.begin(), order.end(), std::int64_t{0});
  std::vector<const Plan*> plans;
  for (const Objective& objective : request_.objectives)
    if (std::find(plans.begin(), plans.end(), objective.plan) == plans.end())
      plans.push_back(objective.plan);
  const auto place = [&](std::int64_t k) {
    return std::find(plans.begin(), plans.end(),
                     request_.objectives[static_cast<std::size_t>(k)].plan) -
           plans.begin();
  };
  std::stable_sort(order.begin(), order.end(),
                   [&](std::int64_t a, std::int64_t b) { return place(a) < place(b); });
  for (const Plan* plan : plans) networks_.push_back({plan, Workspace(), {}, {}});
  float* x = x_.data();
  for (std::int64_t k : order)
    for (std::int64_t restart = 0; restart < request_.restarts; ++restart, x += size_) {
      const Objective& objective = request_.objectives[static_cast<std::size_t>(k)];
      const Random random(key_of(request_, objective, objective.plan->output_node(), restart));
      rows_.push_back({k, restart, random, Updater(request_.update, size_), x});
      start(rows_.back());
    }
}

void Ascent::start(Row& row) {
  const std::int64_t given = static_cast<std::int64_t>(request_.initial.size()) / size_;
  const std::int64_t which = given > 1 ? row.objective * request_.restarts + row.restart : 0;
  const float* initial = given > 0 ? request_.initial.data() + which * size_ : nullptr;
  row.random.normal(kStartStream, initial, request_.noise, row.x, size_);
  for (std::int64_t i = 0; i < size_; ++i) {
    const auto at = static_cast<std::size_t>(i);
    if (!request_.low.empty()) row.x[i] = std::max(row.x[i], request_.low[at]);
    if (!request_.high.empty()) row.x[i] = std::min(row.x[i], request_.high[at]);
  }
}

Ascent::Network& Ascent::network_of(const Plan* plan) {
  return *std::find_if(networks_.begin(), networks_.end(),
                       [&](const Network& n) { return n.plan == plan; });
}

std::vector<Ascent::Row*> Ascent::climbing() {
  std::vector<Row*> rows;
  for (Row& row : rows_)
    if (row.climbing) rows.push_back(&row);
  return rows;
}

bool Ascent::run() {
  for (std::int64_t step = 0; step < request_.steps; ++step) {
    std::vector<Row*> rows = climbing();
    if (rows.empty()) break;
    if (!report(step)) return false;
    evaluate(rows, step);
    for (std::size_t k = 0; k < rows.size(); ++k) {
      record(*rows[k], k, false);
      rows[k]->climbing = goes_on(*rows[k], step);
    }
    update(rows, step);
  }
  if (!report(request_.steps)) return false;
  finish();
  return true;
}

bool Ascent::report(std::int64_t step) {
  if (!request_.progress) return true;
  Progress progress;
  progress.step = step;
  progress.steps = request_.steps;
  progress.values.assign(request_.objectives.size(), -std::numeric_limits<double>::infinity());
  for (const Row& row : rows_) {
    progress.climbing += row.climbing;
    double& best = progress.values[static_cast<std::size_t>(row.objective)];
    if (!row.history.empty()) best = std::max(best, value_of(row));
  }
  return request_.progress(progress);
}

void Ascent::evaluate(const std::vector<Row*>& rows, std::int64_t step) {
  const std::size_t floats = rows.size() * static_cast<std::size_t>(size_);
  seen_.resize(floats);
  gradient_.resize(floats);
  values_.assign(rows.size() * static_cast<std::size_t>(terms_), 0);
  look(rows, step);
  for (std::size_t begin = 0, end = 0; begin < rows.size(); begin = end) {
    const Plan* plan = request_.objectives[static_cast<std::size_t>(rows[begin]->objective)].plan;
    while (end < rows.size() &&
           request_.objectives[static_cast<std::size_t>(rows[end]->objective)].plan == plan)
      ++end;
    climb_network(rows, begin, end);
  }
  add_prior(rows, step);
}

void Ascent::look(const std::vector<Row*>& rows, std::int64_t step) {
  for_rows(rows.size(), [&](std::size_t k) {
    float* seen = seen_.data() + static_cast<std::int64_t>(k) * size_;
    if (moved_ && step >= 0) {
      ImageView(request_.view, shape_, rows[k]->random, step).look(rows[k]->x, seen);
    } else {
      std::copy_n(rows[k]->x, size_, seen);
    }
  });
}

// Rows [begin, end) of the batch, which share a plan.
void Ascent::climb_network(const std::vector<Row*>& rows, std::size_t begin, std::size_t end) {
  const auto objective = [&](std::size_t k) -> const Objective& {
    return request_.objectives[static_cast<std::size_t>(rows[k]->objective)];
  };
  Network& network = network_of(objective(begin).plan);
  const Shape& shape = network.plan->output_shape();
  const std::int64_t out = size_of(shape), n = static_cast<std::int64_t>(end - begin);
  network.output.resize(static_cast<std::size_t>(n * out));
  network.start.resize(network.output.size());
  const std::int64_t offset = static_cast<std::int64_t>(begin) * size_;
  RelevanceRequest request;
  request.x = seen_.data() + offset;
  request.n = n;
  request.output = network.output.data();
  request.relevance = gradient_.data() + offset;
  request.n_threads = request_.n_threads;
  request.start.kind = StartKind::array;
  request.start.values = network.start.data();
  request.start.fill = [&](std::int64_t first, std::int64_t count) {
    parallel_for(threads_for_values(count * out, threads_), count, [&](std::int64_t i, int) {
      const std::size_t k = begin + static_cast<std::size_t>(first + i);
      const float* f = network.output.data() + (first + i) * out;
      values_[k * static_cast<std::size_t>(terms_)] =
          evaluate_objective(objective(k), shape, f, network.start.data() + (first + i) * out);
      rows[k]->probability = probability_of(objective(k), shape, f);
    });
  };
  network.plan->relevance(request, network.workspace);
}

// The gradient of the objective with respect to x, plus that of the prior.
void Ascent::add_prior(const std::vector<Row*>& rows, std::int64_t step) {
  const bool moved = moved_ && step >= 0;
  const std::size_t floats = rows.size() * static_cast<std::size_t>(size_);
  if (request_.prior) {
    const float* x = seen_.data();
    if (moved) {
      batch_.resize(floats);
      for (std::size_t k = 0; k < rows.size(); ++k)
        std::copy_n(rows[k]->x, size_, batch_.data() + static_cast<std::int64_t>(k) * size_);
      x = batch_.data();
    }
    const auto experts = static_cast<std::size_t>(terms_ - 1);
    log_p_.resize(rows.size() * experts);
    prior_gradient_.resize(floats);
    request_.prior->impl().evaluate(x, static_cast<std::int64_t>(rows.size()), log_p_.data(),
                                    prior_gradient_.data(), threads_, scratch_);
    for (std::size_t k = 0; k < rows.size(); ++k)
      std::copy_n(log_p_.data() + k * experts, experts,
                  values_.data() + k * static_cast<std::size_t>(terms_) + 1);
  }
  for_rows(rows.size(), [&](std::size_t k) {
    const std::int64_t offset = static_cast<std::int64_t>(k) * size_;
    float* gradient = gradient_.data() + offset;
    if (moved) {  // what the network saw is no longer needed
      std::copy_n(gradient, size_, seen_.data() + offset);
      ImageView(request_.view, shape_, rows[k]->random, step).back(seen_.data() + offset, gradient);
    }
    if (!request_.prior) return;
    for (std::int64_t i = 0; i < size_; ++i)
      gradient[i] += prior_gradient_[static_cast<std::size_t>(offset + i)];
  });
}

void Ascent::record(Row& row, std::size_t k, bool replace) {
  if (replace) row.history.resize(row.history.size() - static_cast<std::size_t>(terms_));
  const auto first = values_.begin() + static_cast<std::ptrdiff_t>(k) * terms_;
  row.history.insert(row.history.end(), first, first + terms_);
}

double Ascent::value_of(const Row& row) const {
  return std::accumulate(row.history.end() - terms_, row.history.end(), 0.0);
}

bool Ascent::goes_on(Row& row, std::int64_t step) const {
  const double value = value_of(row);
  if (!std::isfinite(value)) {
    row.stop = Stop::diverged;
    return false;
  }
  const double needed = request_.tolerance * std::max(1.0, std::fabs(row.highest));
  if (step == 0 || value > row.highest + needed) {
    row.highest = value;
    row.highest_step = step;
  }
  if (request_.patience == 0 || step - row.highest_step < request_.patience) return true;
  row.stop = Stop::stalled;
  return false;
}

void Ascent::update(const std::vector<Row*>& rows, std::int64_t step) {
  const float* low = request_.low.empty() ? nullptr : request_.low.data();
  const float* high = request_.high.empty() ? nullptr : request_.high.data();
  const View& view = request_.view;
  const bool blurs = view.blur > 0 && (step + 1) % view.blur_steps == 0;
  for_rows(rows.size(), [&](std::size_t k) {
    Row& row = *rows[k];
    if (!row.climbing) return;
    const std::int64_t offset = static_cast<std::int64_t>(k) * size_;
    float* next = seen_.data() + offset;
    if (!row.updater.step(step, row.x, gradient_.data() + offset, low, high, next)) {
      row.stop = Stop::diverged;
      row.climbing = false;
      return;
    }
    if (blurs) blur_image(shape_, view.blur, next);
    std::copy_n(next, size_, row.x);
  });
}

// The last values: of x itself, of all rows.
void Ascent::finish() {
  std::vector<Row*> rows;
  for (Row& row : rows_) rows.push_back(&row);
  evaluate(rows, -1);
  for (std::size_t k = 0; k < rows.size(); ++k) record(*rows[k], k, rows[k]->stop != Stop::steps);
}

std::vector<Prototype> Ascent::best() const {
  std::vector<const Row*> chosen(request_.objectives.size(), nullptr);
  const auto rank = [&](const Row& row) {
    const double value = value_of(row);
    return row.stop == Stop::diverged || !std::isfinite(value)
               ? -std::numeric_limits<double>::infinity()
               : value;
  };
  for (const Row& row : rows_) {  // restarts in order: the first of equals stays
    const Row*& best = chosen[static_cast<std::size_t>(row.objective)];
    if (best == nullptr || rank(row) > rank(*best)) best = &row;
  }
  std::vector<Prototype> result;
  for (const Row* row : chosen)
    result.push_back({std::vector<float>(row->x, row->x + size_), row->probability, row->restart,
                      row->stop, row->history});
  return result;
}

std::vector<Prototype> maximize(const MaximizeRequest& request) {
  check_maximize(request);
  if (request.objectives.empty()) return {};
  Ascent ascent(request);
  if (!ascent.run()) return {};
  return ascent.best();
}

}  // namespace relprop
