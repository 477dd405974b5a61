#include <relprop/relprop.h>

#include <cstdio>
#include <vector>

// y = 2 x0 - x1 + 1 at x = (3, 2) is 5, of which the inputs get 6 and -2 and the bias keeps 1.

int main() {
  relprop::Model model({2});
  const int dense = model.add("dense", {0}, relprop::Dense{2, 1, {2, -1}, {1}});
  model.add_output("y", dense);
  relprop::Rule rule;
  rule.stabilizer = 0;
  const relprop::Plan plan(model, std::vector<relprop::Rule>(model.nodes().size(), rule), {});

  const std::vector<float> x{3, 2};
  std::vector<float> relevance(2), output(1);
  relprop::RelevanceRequest request;
  request.x = x.data();
  request.n = 1;
  request.relevance = relevance.data();
  request.output = output.data();
  relprop::Workspace workspace;
  plan.relevance(request, workspace);
  std::printf("%g %g %g\n", output[0], relevance[0], relevance[1]);
}
