#include <cmath>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "relprop/relprop.h"

// The public C++ interface as a server uses it: build a model, compile a plan, run it.

using namespace relprop;

namespace {

using Floats = std::vector<float>;

// Reproducible values in [-1, 1).
Floats values(std::size_t n, std::uint32_t seed) {
  Floats v(n);
  for (float& x : v) {
    seed = seed * 1664525u + 1013904223u;
    x = static_cast<float>(seed >> 8) * 0x1p-23f - 1;
  }
  return v;
}

Conv conv(std::int64_t in, std::int64_t out, std::int64_t groups, Window window) {
  Conv c{in, out, groups, window, {}, {}};
  c.weight =
      values(static_cast<std::size_t>(out * in / groups * window.kernel[0] * window.kernel[1]), 7);
  c.bias = values(static_cast<std::size_t>(out), 8);
  return c;
}

Window window(std::int64_t kernel, std::int64_t stride, std::int64_t dilation, std::int64_t pad) {
  return {{kernel, kernel}, {stride, stride}, {dilation, dilation}, {pad, 0}, {0, pad}};
}

// Every linear geometry on its way to four classes.
Model network() {
  Model model({6, 12, 10});
  int x = model.add("conv", {0}, conv(6, 24, 1, window(3, 1, 1, 1)));
  x = model.add("relu", {x}, Activation{Function::relu, 0, 0});
  const int depthwise = model.add("depthwise", {x}, conv(24, 24, 24, window(3, 1, 1, 2)));
  x = model.add("strided", {depthwise}, conv(24, 20, 2, window(3, 2, 1, 1)));
  x = model.add("dilated", {x}, conv(20, 32, 1, window(2, 1, 2, 1)));
  x = model.add("relu2", {x}, Activation{Function::relu, 0, 0});
  ConvTranspose up{32, 16, 1, window(3, 2, 1, 0), {0, 0}, values(32 * 16 * 9, 9), values(16, 10)};
  x = model.add("up", {x}, up);
  x = model.add("pool", {x}, AdaptiveAveragePool{{1, 1}});
  x = model.add("flatten", {x}, Reshape{{16}});
  x = model.add("dense", {x}, Dense{16, 4, values(64, 11), values(4, 12)});
  model.add_output("logits", x);
  return model;
}

Plan compile(const Model& model, RuleKind kind) {
  Rule rule;
  rule.kind = kind;
  if (kind == RuleKind::alpha_beta) {
    rule.alpha = 2;
    rule.beta = 1;
  }
  return Plan(model, std::vector<Rule>(model.nodes().size(), rule), {});
}

struct Result {
  Floats relevance, output;
  std::vector<LayerConservation> conservation;
};

Result explain(const Plan& plan, Workspace& workspace, const Floats& x, int n_threads) {
  const auto in = static_cast<std::size_t>(size_of(plan.input_shape()));
  const std::size_t n = x.size() / in;
  Result r;
  r.relevance.resize(x.size());
  r.output.resize(n * static_cast<std::size_t>(size_of(plan.output_shape())));
  RelevanceRequest request;
  request.x = x.data();
  request.n = static_cast<std::int64_t>(n);
  request.relevance = r.relevance.data();
  request.output = r.output.data();
  request.n_threads = n_threads;
  request.conservation = &r.conservation;
  plan.relevance(request, workspace);
  return r;
}

constexpr std::size_t kSample = 6 * 12 * 10;
constexpr RuleKind kRules[] = {RuleKind::gradient,   RuleKind::epsilon, RuleKind::z_plus,
                               RuleKind::alpha_beta, RuleKind::gamma,   RuleKind::w_square,
                               RuleKind::flat};

void test_batches_and_threads() {
  const Model model = network();
  const Floats x = values(5 * kSample, 1);
  for (RuleKind kind : kRules) {
    check::context = rule_name(kind);
    const Plan plan = compile(model, kind);
    Workspace workspace;
    const Result all = explain(plan, workspace, x, 1);
    const std::size_t bytes = workspace.bytes();
    for (int threads : {2, 4})
      CHECK_EQUAL(explain(plan, workspace, x, threads).relevance, all.relevance);
    Workspace other;
    explain(plan, other, x, 1);
    explain(plan, other, x, 1);
    CHECK(other.bytes() == bytes);
    for (std::size_t i = 0; i < 5; ++i) {
      const Floats one(x.begin() + static_cast<std::ptrdiff_t>(i * kSample),
                       x.begin() + static_cast<std::ptrdiff_t>((i + 1) * kSample));
      const Floats wanted(all.relevance.begin() + static_cast<std::ptrdiff_t>(i * kSample),
                          all.relevance.begin() + static_cast<std::ptrdiff_t>((i + 1) * kSample));
      CHECK_EQUAL(explain(plan, workspace, one, 1).relevance, wanted);
    }
  }
}

void test_shared_plan() {
  const Model model = network();
  const Plan plan = compile(model, RuleKind::alpha_beta);
  const Floats x = values(2 * kSample, 2);
  Workspace workspace;
  const Floats alone = explain(plan, workspace, x, 1).relevance;
  std::vector<Floats> found(8);
  std::vector<std::thread> callers;
  for (Floats& mine : found)
    callers.emplace_back([&] {
      Workspace own;
      for (int round = 0; round < 20; ++round) mine = explain(plan, own, x, 1).relevance;
    });
  for (std::thread& caller : callers) caller.join();
  check::context = "shared plan";
  for (const Floats& mine : found) CHECK_EQUAL(mine, alone);
}

// What arrives at a layer either leaves it or is in the account of its losses.
void test_conservation() {
  const Model model = network();
  const Floats x = values(3 * kSample, 3);
  for (RuleKind kind : kRules) {
    if (kind == RuleKind::gradient) continue;
    const Plan plan = compile(model, kind);
    Workspace workspace;
    const Result r = explain(plan, workspace, x, 1);
    CHECK(!r.conservation.empty());
    for (const LayerConservation& layer : r.conservation) {
      check::context = std::string(rule_name(kind)) + " " +
                       model.nodes()[static_cast<std::size_t>(layer.node)].name;
      const double rest =
          layer.relevance_out - layer.relevance_in - layer.bias - layer.epsilon - layer.zero;
      double scale = std::fabs(layer.relevance_out) + std::fabs(layer.relevance_in);
      scale += std::fabs(layer.bias) + std::fabs(layer.epsilon) + std::fabs(layer.zero);
      // Values of both signs cancel in these sums, which costs a digit beside float's seven.
      CHECK(std::fabs(rest) <= 1e-5 * scale);
    }
  }
}

// <W x, s> = <x, W^T s>: the forward product against the gradient, one layer of each geometry.
void test_adjoint() {
  const Window windows[] = {window(3, 1, 1, 1), window(3, 2, 1, 1), window(2, 1, 3, 2),
                            window(1, 1, 1, 0)};
  for (const Window& w : windows)
    for (std::int64_t groups : {1, 2, 6}) {
      Model model({6, 12, 10});
      Conv layer = conv(6, 12, groups, w);
      layer.bias.clear();
      model.add_output("y", model.add("conv", {0}, layer));
      const Plan plan = compile(model, RuleKind::gradient);
      const Floats x = values(kSample, 4);
      const auto outputs = static_cast<std::size_t>(size_of(plan.output_shape()));
      const Floats s = values(outputs, 5);
      Floats y(outputs), back(kSample);
      Workspace workspace;
      plan.forward(x.data(), 1, y.data(), workspace, 1);
      RelevanceRequest request;
      request.x = x.data();
      request.n = 1;
      request.start.kind = StartKind::array;
      request.start.values = s.data();
      request.relevance = back.data();
      plan.relevance(request, workspace);
      double left = 0, right = 0, scale = 0;
      for (std::size_t i = 0; i < outputs; ++i) {
        left += double(y[i]) * s[i];
        scale += std::fabs(double(y[i]) * s[i]);
      }
      for (std::size_t i = 0; i < kSample; ++i) right += double(x[i]) * back[i];
      check::context =
          "kernel " + std::to_string(w.kernel[0]) + " groups " + std::to_string(groups);
      CHECK(scale > 0);
      CHECK(std::fabs(left - right) <= 1e-6 * scale);
    }
}

std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

void test_bad_requests() {
  const Model model = network();
  const Plan plan = compile(model, RuleKind::epsilon);
  const Floats x = values(kSample, 6);
  Floats relevance(kSample);
  const auto refused = [&](const char* wanted,
                           const std::function<void(RelevanceRequest&)>& spoil) {
    RelevanceRequest request;
    request.x = x.data();
    request.n = 1;
    request.relevance = relevance.data();
    spoil(request);
    Workspace workspace;
    const std::string message = message_of([&] { plan.relevance(request, workspace); });
    check::context = message;
    CHECK(message.find(wanted) != std::string::npos);
  };
  const std::int64_t target = 4;
  refused("target 4 does not exist", [&](RelevanceRequest& r) { r.start.targets = &target; });
  refused("at least 1 is needed", [](RelevanceRequest& r) { r.start.targets_per_sample = 0; });
  refused("a batch of -1", [](RelevanceRequest& r) { r.n = -1; });
  refused("null", [](RelevanceRequest& r) { r.x = nullptr; });
  refused("threads", [](RelevanceRequest& r) { r.n_threads = -1; });
  refused("names node 99", [&](RelevanceRequest& r) {
    r.layers = {99};
    r.layer_relevance = {relevance.data()};
  });
  refused("memory for", [](RelevanceRequest& r) { r.layers = {1}; });
  refused("a mask has no values",
          [](RelevanceRequest& r) { r.masks.push_back({1, nullptr, false}); });
  refused("no values", [](RelevanceRequest& r) { r.start.kind = StartKind::array; });

  Model wrong({6, 12, 10});
  check::context = "wrong channels";
  const std::string message =
      message_of([&] { wrong.add("conv", {0}, conv(5, 4, 1, window(3, 1, 1, 1))); });
  CHECK(message.find("conv") != std::string::npos);
}

}  // namespace

int main() {
  test_batches_and_threads();
  test_shared_plan();
  test_conservation();
  test_adjoint();
  test_bad_requests();
  return check::finish("plan");
}
