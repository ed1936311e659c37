#pragma once
// Temperature scaling (Guo, Pleiss, Sun, Weinberger 2017): one number that a trained model's scores are
// divided by, so that its probabilities come closer to the frequencies of a split's rows.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "trainer/comm/communicator.h"

namespace muster {

/// A micro-batch as the model scored it.
struct RawMicroBatch {
  std::uint64_t number = 0;
  std::vector<float> scores;   ///< logits, rows × outputs, finite
  std::vector<double> labels;  ///< a class of each row; of one output 0 or 1
  double loss = 0;             ///< sums as the model was trained by
  double weight = 0;
};

/// Sums over a micro-batch's rows: the negative log likelihood of softmax(scores / T) or, of one output,
/// sigmoid(score / T), in nats, and its derivatives by 1 / T.
struct LogitSums {
  double nll = 0;
  double first = 0;
  double second = 0;
};

/// At `inverse` = 1 / T. Error{kData} for a label that is no class.
LogitSums logit_sums(const RawMicroBatch& batch, std::int64_t outputs, double inverse);

struct TemperatureFit {
  double temperature = 1;
  std::string remark;  ///< why there is none and 1 is kept; "" when it was fitted
};

/// Collective. The temperature with the least negative log likelihood of all ranks' rows, each of which
/// counts once: weights of rows and classes change frequencies on purpose, and probabilities shall be those
/// of the rows. The likelihood is convex in 1 / T; Newton's method inside a bracket, sums in micro-batch
/// order: the same bits for any number of ranks. Between 1/64 and 64; where the least is not inside (one
/// class only, everything right, no better than chance) 1 is kept.
TemperatureFit fit_temperature(Communicator& comm, std::span<const RawMicroBatch> mine, std::int64_t outputs);

}  // namespace muster
