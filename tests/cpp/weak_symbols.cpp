// What a kernel must not do: use a template of the standard library, which leaves weak symbols.

#include <vector>

namespace relprop::baseline {
namespace {

void append(std::vector<float>& v) { v.push_back(1); }

}  // namespace

using Table = void (*)(std::vector<float>&);
extern const Table kernels;
const Table kernels = append;

}  // namespace relprop::baseline
