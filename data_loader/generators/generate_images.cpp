// Generator "images": ten shapes, somewhere in a noisy picture, some with a wrong label.
#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "core/random.h"
#include "data_loader/generators/generator.h"

namespace muster {
namespace {

constexpr int kSide = 28;
constexpr std::uint64_t kPixels = std::uint64_t{kSide} * kSide;
constexpr int kClasses = 10;
constexpr double kWrongLabels = 0.02;

/// How far (x, y) lies outside the line or area of a class's shape, in units of its size; at most 0 on it.
double outside(int shape, double x, double y) {
  constexpr double kLine = 0.22;
  const double radius = std::hypot(x, y);
  const double box = std::max(std::abs(x), std::abs(y));
  const double cross = std::min(std::abs(x), std::abs(y));
  const double saltire = std::abs(std::abs(x) - std::abs(y)) / std::numbers::sqrt2;
  switch (shape) {
    case 0:
      return radius - 1;  // disc
    case 1:
      return std::abs(radius - 0.85) - kLine;  // ring
    case 2:
      return box - 0.85;  // square
    case 3:
      return std::abs(box - 0.75) - kLine;  // frame
    case 4:
      return std::max(cross - kLine, box - 1);  // cross
    case 5:
      return std::max(saltire - kLine, box - 0.9);  // saltire
    case 6:
      return std::max(std::abs(x) * 2 - (y + 0.9), y - 0.9);  // triangle, point up
    case 7:
      return std::max(std::abs(x) * 2 - (0.9 - y), -0.9 - y);  // triangle, point down
    case 8:
      return std::max(std::abs(std::abs(y) - 0.55) - kLine, box - 1);  // two bars, lying
    default:
      return std::max(std::abs(std::abs(x) - 0.55) - kLine, box - 1);  // two bars, standing
  }
}

class ImageGenerator : public RowGenerator {
 public:
  explicit ImageGenerator(const GenerateOptions& options) : seed_(options.seed) {}

  std::string contract_yaml() const override {
    return fmt::format(
        "# Ten shapes in noise; {:g} % of the labels are wrong.\n"
        "version: 1\n"
        "fields:\n"
        "  image: {{dtype: uint8, shape: [{}, {}], transform: scale}}  # rows from the top, 255 is bright\n"
        "  label: {{dtype: uint8, range: [0, {}], role: label}}\n"
        "splits: {{by: fraction, seed: 1, train: 0.8, validation: 0.1, test: 0.1}}\n",
        kWrongLabels * 100, kSide, kSide, kClasses - 1);
  }

  void next(std::uint64_t rows, std::span<std::vector<std::byte>> columns) override {
    columns[0].resize(rows * kPixels);
    columns[1].resize(rows);
    for (std::uint64_t r = 0; r < rows; ++r) {
      // Keyed by row: what one row draws cannot move the next.
      RandomStream stream(random_key(seed_, Purpose::kGenerate, {row_++}));
      const auto shape = static_cast<int>(stream.below(kClasses));
      draw(stream, shape, std::span(columns[0]).subspan(r * kPixels, kPixels));
      const bool wrong = stream.uniform() < kWrongLabels;
      columns[1][r] = static_cast<std::byte>(wrong ? static_cast<int>(stream.below(kClasses)) : shape);
    }
  }

 private:
  static void draw(RandomStream& stream, int shape, std::span<std::byte> image) {
    const double size = 5.5 + 4 * stream.uniform();
    const double left = kSide / 2.0 + 7 * (stream.uniform() - 0.5);
    const double top = kSide / 2.0 + 7 * (stream.uniform() - 0.5);
    const double turn = 0.5 * (stream.uniform() - 0.5);
    const double bright = 90 + 120 * stream.uniform();
    for (int pixel = 0; pixel < kSide * kSide; ++pixel) {
      const int column = pixel % kSide;
      const int line = pixel / kSide;
      const double across = (column - left) / size;
      const double down = (top - line) / size;
      const double x = across * std::cos(turn) - down * std::sin(turn);
      const double y = across * std::sin(turn) + down * std::cos(turn);
      const double ink = std::clamp(0.5 - size * outside(shape, x, y), 0.0, 1.0);
      const double noise = 35 * stream.uniform() + 35 * stream.uniform();
      image[static_cast<std::size_t>(pixel)] = static_cast<std::byte>(std::min(255.0, noise + bright * ink));
    }
  }

  std::uint64_t seed_;
  std::uint64_t row_ = 0;
};

const bool kRegistered = generators().add(
    "images", {[](const GenerateOptions& options) { return std::make_unique<ImageGenerator>(options); },
               "28 x 28 pictures of ten shapes in noise: class label, split at random"});

}  // namespace
}  // namespace muster
