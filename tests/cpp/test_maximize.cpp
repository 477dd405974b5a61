#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "check.h"
#include "random.h"
#include "relprop/relprop.h"

// Activation maximization as a C++ server uses it, and the generator of its random numbers.

using namespace relprop;

namespace {

using Floats = std::vector<float>;
using Words = std::array<std::uint32_t, 4>;

// The known answers of Random123 (Salmon et al. 2011), kat_vectors, philox4x32 10.
void test_philox() {
  check::context = "philox";
  CHECK((philox({0, 0, 0, 0}, {0, 0}) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  constexpr std::uint32_t ones = 0xffffffff;
  CHECK((philox({ones, ones, ones, ones}, {ones, ones}) ==
         Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  CHECK((philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
         Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

Floats waves(std::size_t n, double frequency) {
  Floats values(n);
  for (std::size_t i = 0; i < n; ++i)
    values[i] = static_cast<float>(std::sin(frequency * (static_cast<double>(i) + 1)));
  return values;
}

Model network() {
  Model model({1, 6, 6});
  Conv conv{1, 3, 1, {{3, 3}, {1, 1}, {1, 1}, {0, 0}, {0, 0}}, waves(27, 1.3), waves(3, 0.7)};
  int x = model.add("conv", {0}, conv);
  x = model.add("relu", {x}, Activation{Function::relu, 0, 0});
  x = model.add("flat", {x}, Reshape{{48}});
  x = model.add("head", {x}, Dense{48, 4, waves(192, 2.1), waves(4, 0.9)});
  x = model.add("softmax", {x}, Softmax{0});
  model.add_output("p", x);
  return model;
}

Plan gradient_plan(const Model& model, int output) {
  Rule rule;
  rule.kind = RuleKind::gradient;
  PlanOptions options;
  options.output = output;
  return Plan(model, std::vector<Rule>(model.nodes().size(), rule), options);
}

MaximizeRequest request_of(const Plan& logits, const Plan& relu) {
  MaximizeRequest request;
  for (std::int64_t c = 0; c < 4; ++c)
    request.objectives.push_back({&logits, ObjectiveKind::log_probability, c});
  request.objectives.push_back({&relu, ObjectiveKind::channel, 1});
  request.steps = 25;
  request.restarts = 3;
  request.noise = 0.1;
  request.view.jitter = 1;
  return request;
}

bool equal(const Prototype& a, const Prototype& b) {
  return a.x == b.x && a.history == b.history && a.restart == b.restart && a.stop == b.stop;
}

void test_rows_do_not_depend_on_each_other() {
  const Model model = network();
  const Plan logits = gradient_plan(model, logits_node(model, model.outputs()[0].second));
  const Plan relu = gradient_plan(model, model.find("relu"));
  Prior prior({1, 6, 6});
  prior.add(L2{0.01, {}});
  prior.add(GaussianRbm{5, waves(180, 0.3), Floats(36, 0), Floats(5, 0), Floats(36, 1)}, 0.1);
  MaximizeRequest request = request_of(logits, relu);
  request.prior = &prior;
  request.n_threads = 1;
  const std::vector<Prototype> together = maximize(request);
  check::context = "rows";
  CHECK(together.size() == 5);
  request.n_threads = 4;
  const std::vector<Prototype> threaded = maximize(request);
  MaximizeRequest alone = request;
  for (std::size_t k = 0; k < 5; ++k) {
    alone.objectives = {request.objectives[k]};
    CHECK(equal(together[k], threaded[k]));
    CHECK(equal(together[k], maximize(alone)[0]));
  }
  for (const Prototype& found : together) {
    const double* first = found.history.data();
    const double* last = first + found.history.size() - 3;
    CHECK(last[0] + last[1] + last[2] > first[0] + first[1] + first[2]);
  }
  for (std::size_t k = 0; k < 4; ++k)
    CHECK(std::fabs(std::log(together[k].probability) - together[k].history[25 * 3]) < 1e-9);
  CHECK(std::isnan(together[4].probability));
  CHECK(together[0].history.size() == 26 * 3);
}

void test_cancelling_returns_nothing() {
  const Model model = network();
  const Plan logits = gradient_plan(model, model.find("head"));
  const Plan relu = gradient_plan(model, model.find("relu"));
  MaximizeRequest request = request_of(logits, relu);
  std::int64_t calls = 0;
  request.progress = [&](const Progress& progress) {
    ++calls;
    return progress.step < 3;
  };
  check::context = "cancel";
  CHECK(maximize(request).empty());
  CHECK(calls == 4);
}

void refused(const MaximizeRequest& request, const std::string& what) {
  check::context = what;
  bool thrown = false;
  try {
    maximize(request);
  } catch (const Error& error) {
    thrown = std::string(error.what()).find(what) != std::string::npos;
  }
  CHECK(thrown);
}

void test_wrong_requests() {
  const Model model = network();
  const Plan logits = gradient_plan(model, model.find("head"));
  const Plan probabilities = gradient_plan(model, model.outputs()[0].second);
  const MaximizeRequest good = request_of(logits, logits);
  const auto with = [&](auto change) {
    MaximizeRequest request = good;
    change(request);
    return request;
  };
  refused(with([&](auto& r) { r.objectives[0].plan = nullptr; }), "no plan");
  refused(with([&](auto& r) { r.objectives[0].plan = &probabilities; }), "softmax");
  refused(with([&](auto& r) { r.objectives[3].index = 4; }), "accepted: 0 to 3");
  refused(with([&](auto& r) { r.steps = 0; }), "steps = 0");
  refused(with([&](auto& r) { r.initial = Floats(7); }), "initial has 7 values");
  refused(with([&](auto& r) { r.update.rate = -1; }), "rate = -1");
  const Prior other({3});
  refused(with([&](auto& r) { r.prior = &other; }), "the prior is for inputs (3,)");
}

void test_append() {
  Model generator({2});
  const int picture = generator.add("up", {0}, Dense{2, 36, waves(72, 0.4), {}});
  const int shaped = generator.add("shape", {picture}, Reshape{{1, 6, 6}});
  const Model tail = network();
  check::context = "append";
  bool thrown = false;
  try {
    append(generator, picture, tail, tail.find("head"));
  } catch (const Error&) {
    thrown = true;
  }
  CHECK(thrown && generator.nodes().size() == 3);
  const int head = append(generator, shaped, tail, tail.find("head"), "net/");
  CHECK(generator.find("net/head") == head);
  const Plan joined = gradient_plan(generator, head),
             alone = gradient_plan(tail, tail.find("head"));
  const Floats z{0.3f, -0.7f};
  Floats x(36), y(4), wanted(4);
  Workspace a, b, c;
  gradient_plan(generator, shaped).forward(z.data(), 1, x.data(), a);
  alone.forward(x.data(), 1, wanted.data(), b);
  joined.forward(z.data(), 1, y.data(), c);
  CHECK_EQUAL(y, wanted);
}

}  // namespace

int main() {
  test_philox();
  test_rows_do_not_depend_on_each_other();
  test_cancelling_returns_nothing();
  test_wrong_requests();
  test_append();
  return check::finish("maximize");
}
