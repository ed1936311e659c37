// Generator "fields": heat sources in a periodic box, and the temperature that they keep up in it.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numbers>
#include <numeric>

#include "core/random.h"
#include "core/text.h"
#include "data_loader/generators/generator.h"

namespace muster {
namespace {

constexpr std::size_t kModes = 24;
constexpr std::uint64_t kMostWaves = 6;  // along a side
constexpr double kLength = 0.25;         // m: how far heat gets before it is lost
constexpr double kWaveSource = 1000;     // K/m^2, of a wave, at most
constexpr std::uint64_t kLeastExtent = 8;
constexpr std::uint64_t kMostCells = std::uint64_t{1} << 26;

/// A plane wave: amplitude * cos(wave . place + phase). The last axis is the one along which memory runs.
struct Mode {
  std::array<double, 3> wave{};  ///< radians a cell
  double amplitude = 0;          ///< of the source
  double phase = 0;
  double answer = 0;  ///< of the temperature, for each unit of the source
};

std::vector<std::uint64_t> checked_shape(std::vector<std::uint64_t> shape) {
  if (shape.empty()) return {32, 32};
  std::uint64_t cells = 1;
  bool fine = shape.size() == 2 || shape.size() == 3;
  for (const std::uint64_t extent : shape) {
    fine = fine && extent >= kLeastExtent && extent <= kMostCells / cells;
    cells *= fine ? extent : 1;
  }
  if (fine) return shape;
  std::vector<std::string> extents;
  for (const std::uint64_t extent : shape) extents.push_back(fmt::to_string(extent));
  fail(ErrorCode::kUsage,
       "a shape of [{}] makes no fields: [height, width] or [depth, height, width] is needed, each at least "
       "{}, "
       "with at most {} cells",
       join(extents, ", "), kLeastExtent, human_count(kMostCells));
}

/// Sources are sums of plane waves, so that the solution of
///   -laplace(temperature) + temperature / length^2 = source
/// in the periodic box is the same waves, each divided by k^2 + 1 / length^2 (k: radians a metre).
class FieldsGenerator : public RowGenerator {
 public:
  explicit FieldsGenerator(const GenerateOptions& options)
      : seed_(options.seed),
        shape_(checked_shape(options.shape)),
        cells_(std::accumulate(shape_.begin(), shape_.end(), std::uint64_t{1}, std::multiplies<>())),
        cells_per_metre_(static_cast<double>(*std::ranges::min_element(shape_))) {}

  std::string contract_yaml() const override {
    std::vector<std::string> extents;
    for (const std::uint64_t extent : shape_) extents.push_back(fmt::to_string(extent));
    const std::string shape = join(extents, ", ");
    const double slowest = 2 * std::numbers::pi * cells_per_metre_ /
                           static_cast<double>(*std::ranges::max_element(shape_));  // radians a metre
    const double most = kModes * kWaveSource;
    const double warmest = std::ceil(most * answer_to(slowest * slowest));
    return fmt::format(
        "# Heat sources and sinks in a periodic box, and the steady temperature above the surroundings, to\n"
        "# which heat is lost everywhere: the screened Poisson equation\n"
        "#   -laplace(temperature) + temperature / length^2 = source, with a length of {} m,\n"
        "# solved exactly. The shortest side is 1 m long; cells are as long as they are wide.\n"
        "version: 1\n"
        "fields:\n"
        "  source: {{dtype: float32, shape: [{}], unit: K/m^2, range: [-{}, {}], transform: standardize}}\n"
        "  temperature: {{dtype: float32, shape: [{}], unit: K, range: [-{}, {}], role: label}}\n"
        "splits: {{by: fraction, seed: 1, train: 0.8, validation: 0.1, test: 0.1}}\n",
        kLength, shape, most, most, shape, warmest, warmest);
  }

  void next(std::uint64_t rows, std::span<std::vector<std::byte>> columns) override {
    std::vector<double> source(cells_);
    std::vector<double> temperature(cells_);
    for (std::vector<std::byte>& column : columns) column.resize(rows * cells_ * sizeof(float));
    for (std::uint64_t r = 0; r < rows; ++r) {
      RandomStream stream(random_key(seed_, Purpose::kGenerate, {row_++}));
      std::ranges::fill(source, 0);
      std::ranges::fill(temperature, 0);
      for (std::size_t i = 0; i < kModes; ++i) add(draw(stream), source, temperature);
      put(source, r, columns[0]);
      put(temperature, r, columns[1]);
    }
  }

 private:
  /// The temperature that a wave of sources of 1 K/m^2 keeps up; `squared`: its (radians a metre)^2.
  static double answer_to(double squared) { return 1 / (squared + 1 / (kLength * kLength)); }

  Mode draw(RandomStream& stream) const {
    Mode mode;
    double squared = 0;  // (radians a metre)^2
    while (squared == 0) {
      for (std::size_t axis = 0; axis < shape_.size(); ++axis) {
        // Fewer than half as many as cells, so that samples tell them apart.
        const std::uint64_t most = std::min(kMostWaves, (shape_[axis] - 1) / 2);
        const double waves = static_cast<double>(stream.below(2 * most + 1)) - static_cast<double>(most);
        mode.wave[axis] = 2 * std::numbers::pi * waves / static_cast<double>(shape_[axis]);
        squared += std::pow(mode.wave[axis] * cells_per_metre_, 2);
      }
    }
    mode.amplitude = kWaveSource * (2 * stream.uniform() - 1);
    mode.phase = 2 * std::numbers::pi * stream.uniform();
    mode.answer = answer_to(squared);
    return mode;
  }

  /// Line by line: cos(a + b) = cos a cos b - sin a sin b, with one table for all lines.
  void add(const Mode& mode, std::span<double> source, std::span<double> temperature) const {
    const std::size_t last = shape_.size() - 1;
    const std::size_t width = shape_[last];
    std::vector<double> cosines(width);
    std::vector<double> sines(width);
    for (std::size_t x = 0; x < width; ++x) {
      cosines[x] = mode.amplitude * std::cos(mode.wave[last] * static_cast<double>(x));
      sines[x] = mode.amplitude * std::sin(mode.wave[last] * static_cast<double>(x));
    }
    std::size_t line = 0;
    for (std::size_t first = 0; first < cells_; first += width) {
      double start = mode.phase;
      std::size_t rest = line++;
      for (std::size_t axis = last; axis-- > 0; rest /= shape_[axis])
        start += mode.wave[axis] * static_cast<double>(rest % shape_[axis]);
      const double cosine = std::cos(start);
      const double sine = std::sin(start);
      for (std::size_t x = 0; x < width; ++x) {
        const double value = cosine * cosines[x] - sine * sines[x];
        source[first + x] += value;
        temperature[first + x] += mode.answer * value;
      }
    }
  }

  void put(std::span<const double> values, std::uint64_t row, std::vector<std::byte>& column) const {
    std::vector<float> floats(values.begin(), values.end());
    std::memcpy(column.data() + row * cells_ * sizeof(float), floats.data(), cells_ * sizeof(float));
  }

  std::uint64_t seed_;
  std::vector<std::uint64_t> shape_;
  std::uint64_t cells_;
  double cells_per_metre_;
  std::uint64_t row_ = 0;
};

const bool kRegistered = generators().add(
    "fields",
    {[](const GenerateOptions& options) { return std::make_unique<FieldsGenerator>(options); },
     "heat sources and the temperature they keep up, arrays of 2 or 3 dimensions (--shape): an array as "
     "label, split at random",
     true});

}  // namespace
}  // namespace muster
