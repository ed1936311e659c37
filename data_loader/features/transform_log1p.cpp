// "log1p": ln(1 + x), for what is spread over powers of ten. Values of at most -1 have none.

#include <cmath>

#include "data_loader/contract/transform.h"

namespace muster {

namespace {

const bool kRegistered = transforms().add(
    "log1p", {.options = {},
              .map = [](const Json&) { return [](double value) { return std::log1p(value); }; },
              .help = "ln(1 + x); other transforms may follow"});

}  // namespace

}  // namespace muster
