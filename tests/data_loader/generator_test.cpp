// generate: the same options make the same values, whatever the codec and the number of partitions.
#include "data_loader/generators/generator.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <iostream>
#include <numbers>

#include "tests/data_loader/columns.h"
#include "tests/data_loader/scratch_directory.h"

namespace muster::testing {
namespace {

GenerateOptions options(const std::string& kind, std::uint64_t rows, const std::filesystem::path& out) {
  GenerateOptions options;
  options.kind = kind;
  options.rows = rows;
  options.out = out;
  return options;
}

class EveryKind : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Generators, EveryKind, ::testing::ValuesIn(generators().names()),
                         [](const auto& kind) {
                           std::string name = kind.param;
                           std::erase(name, '-');
                           return name;
                         });

TEST_P(EveryKind, GivesTheSameValuesForAnyCodecAndNumberOfPartitions) {
  const ScratchDirectory directory;
  GenerateOptions one = options(GetParam(), 3001, directory / "one");
  GenerateOptions many = options(GetParam(), 3001, directory / "many");
  many.partitions = 7;
  many.codec = Codec::kGzip;
  GenerateOptions other = options(GetParam(), 3001, directory / "other");
  other.seed = 2;
  for (const GenerateOptions& some : {one, many, other}) generate(some);
  const Columns columns = read_columns(one.out);
  EXPECT_EQ(columns, read_columns(many.out));
  EXPECT_NE(columns, read_columns(other.out));
  EXPECT_EQ(partitions(many.out).size(), 7U);
}

TEST_P(EveryKind, RefusesAnAbsurdNumberOfRowsBeforeItWrites) {
  for (const Codec codec : {Codec::kNone, Codec::kGzip}) {
    const ScratchDirectory directory;
    GenerateOptions huge = options(GetParam(), 10'000'000'000'000'000'000U, directory / "huge");
    huge.codec = codec;
    const auto made = attempt([&] {
      generate(huge);
      return 0;
    });
    ASSERT_FALSE(made.ok());
    const std::string why = made.error().code() == ErrorCode::kStorage ? "the disk has" : "give at most";
    EXPECT_NE(made.error().message().find(why), std::string::npos) << made.error().what();
    EXPECT_TRUE(!std::filesystem::exists(huge.out) || std::filesystem::is_empty(huge.out));
  }
}

TEST_P(EveryKind, KeepsItsOwnContract) {
  const ScratchDirectory directory;
  const GenerateOptions some = options(GetParam(), 5000, directory / "data");
  generate(some);
  const Contract contract = Contract::load(some.out / "contract.yaml");
  EXPECT_TRUE(contract.has_windows() || contract.only(Role::kLabel) != nullptr) << "nothing to learn";
  EXPECT_EQ(contract.split_names(), (std::vector<std::string>{"train", "validation", "test"}));
  const Columns columns = read_columns(some.out);
  for (const Field& field : contract.stored_fields()) {
    const std::vector<double> values = numbers(field.dtype, columns.at(field.name));
    EXPECT_EQ(values.size(), 5000 * field.values_per_row());
    const bool some_missing =
        std::any_of(values.begin(), values.end(), [](double v) { return std::isnan(v); });
    EXPECT_EQ(some_missing, field.missing == Missing::kIndicator) << field.name;
    for (const double value : values) {
      if (std::isnan(value)) continue;
      ASSERT_TRUE(!field.minimum || value >= *field.minimum) << field.name << " " << value;
      ASSERT_TRUE(!field.maximum || value <= *field.maximum) << field.name << " " << value;
      ASSERT_TRUE(field.allowed.empty() ||
                  std::find(field.allowed.begin(), field.allowed.end(), value) != field.allowed.end())
          << field.name << " " << value;
    }
  }
}

TEST(GenerateTokens, EachStepHasTheEntropyThatTheContractSays) {
  const ScratchDirectory directory;
  const GenerateOptions some = options("tokens", 200'000, directory / "data");
  generate(some);
  EXPECT_NE(read_file(some.out / "contract.yaml").find("1.75 bits (1.2130 nats)"), std::string::npos);
  const std::vector<double> tokens = numbers(DType::kUInt8, read_columns(some.out).at("tokens"));
  std::map<std::pair<double, double>, std::map<double, double>> after;
  std::map<double, std::map<double, double>> after_one;
  for (std::size_t i = 2; i < tokens.size(); ++i) {
    after[{tokens[i - 2], tokens[i - 1]}][tokens[i]] += 1;
    after_one[tokens[i - 1]][tokens[i]] += 1;
  }
  const auto bits = [&](const auto& counts) {  // of the next symbol, given what is counted by
    double sum = 0;
    for (const auto& [before, next] : counts) {
      double all = 0;
      for (const auto& [symbol, count] : next) all += count;
      for (const auto& [symbol, count] : next) sum -= count * std::log2(count / all);
    }
    return sum / static_cast<double>(tokens.size() - 2);
  };
  EXPECT_NEAR(bits(after), 1.75, 0.01);
  EXPECT_GT(bits(after_one), 2.2) << "one symbol must not say as much as two";
  for (const auto& [pair, next] : after) EXPECT_LE(next.size(), 4U);
}

/// One array's Fourier coefficient at these whole waves along each axis.
std::complex<double> coefficient(std::span<const double> values, const std::vector<std::size_t>& shape,
                                 const std::vector<int>& waves) {
  std::complex<double> sum = 0;
  for (std::size_t cell = 0; cell < values.size(); ++cell) {
    double turns = 0;
    std::size_t rest = cell;
    for (std::size_t axis = shape.size(); axis-- > 0; rest /= shape[axis])
      turns += static_cast<double>(waves[axis]) * static_cast<double>(rest % shape[axis]) /
               static_cast<double>(shape[axis]);
    sum += values[cell] * std::polar(1.0, -2 * std::numbers::pi * turns);
  }
  return sum / static_cast<double>(values.size());
}

/// All combinations of whole waves from -most to most.
std::vector<std::vector<int>> all_waves(std::size_t axes, int most) {
  std::vector<std::vector<int>> found{{}};
  for (std::size_t axis = 0; axis < axes; ++axis) {
    std::vector<std::vector<int>> longer;
    for (const std::vector<int>& start : found) {
      for (int wave = -most; wave <= most; ++wave) {
        longer.push_back(start);
        longer.back().push_back(wave);
      }
    }
    found = std::move(longer);
  }
  return found;
}

TEST(GenerateFields, TheTemperatureSolvesTheEquationThatTheContractSays) {
  for (const std::vector<std::uint64_t>& shape : {std::vector<std::uint64_t>{9, 14}, {8, 10, 9}}) {
    const ScratchDirectory directory;
    GenerateOptions some = options("fields", 3, directory / "data");
    some.shape = shape;
    generate(some);
    EXPECT_NE(read_file(some.out / "contract.yaml").find("length of 0.25 m"), std::string::npos);
    const Columns columns = read_columns(some.out);
    const std::vector<double> source = numbers(DType::kFloat32, columns.at("source"));
    const std::vector<double> temperature = numbers(DType::kFloat32, columns.at("temperature"));
    const std::size_t cells = source.size() / 3;
    double largest = 0;
    for (std::size_t row = 0; row < 3; ++row) {
      const auto of = [&](const std::vector<double>& all, const std::vector<int>& waves) {
        return coefficient(std::span(all).subspan(row * cells, cells), {shape.begin(), shape.end()}, waves);
      };
      for (const std::vector<int>& waves : all_waves(shape.size(), 4)) {
        double squared = 0;  // radians a metre: the shortest side is a metre long
        for (std::size_t axis = 0; axis < shape.size(); ++axis) {
          const double metres = static_cast<double>(shape[axis]) / static_cast<double>(shape[0]);
          squared += std::pow(2 * std::numbers::pi * waves[axis] / metres, 2);
        }
        const std::complex<double> heat = of(source, waves);
        const std::complex<double> warmth = of(temperature, waves);
        EXPECT_LT(std::abs((squared + 16) * warmth - heat), 0.01);  // values up to thousands, as floats
        largest = std::max(largest, std::abs(warmth) * squared);
      }
    }
    EXPECT_GT(largest, 100) << "there are waves to speak of";
  }
}

TEST(GenerateFields, ACellsSourceAloneSaysLittleOfItsTemperature) {
  const ScratchDirectory directory;
  const GenerateOptions some = options("fields", 300, directory / "data");
  generate(some);
  const Columns columns = read_columns(some.out);
  const std::vector<double> source = numbers(DType::kFloat32, columns.at("source"));
  const std::vector<double> temperature = numbers(DType::kFloat32, columns.at("temperature"));
  double xx = 0;
  double xy = 0;
  double yy = 0;
  for (std::size_t i = 0; i < source.size(); ++i) {
    xx += source[i] * source[i];
    xy += source[i] * temperature[i];
    yy += temperature[i] * temperature[i];
  }
  const double explained = xy * xy / (xx * yy);  // by the best line through zero, the mean of both
  std::cout << "a cell's source explains " << explained << " of its temperature\n";
  EXPECT_GT(explained, 0.1);
  EXPECT_LT(explained, 0.5);
  EXPECT_GT(std::sqrt(yy / static_cast<double>(source.size())), 3);
}

TEST(GenerateFields, TakesShapesOfTwoOrThreeExtentsAlone) {
  const ScratchDirectory directory;
  const auto refusal = [&](const std::string& kind, std::vector<std::uint64_t> shape) {
    GenerateOptions some = options(kind, 3, directory / "data");
    some.shape = std::move(shape);
    const Error error = error_of([&] { generate(some); });
    EXPECT_EQ(error.code(), ErrorCode::kUsage);
    EXPECT_FALSE(std::filesystem::exists(some.out));
    return error.message();
  };
  const std::vector<std::uint64_t> bad[] = {
      {32}, {8, 7}, {8, 8, 8, 8}, {8, 1U << 30}, {0, 8}, {1ULL << 40, 1ULL << 40, 8}, {8192, 8192, 8}};
  for (const auto& shape : bad) EXPECT_NE(refusal("fields", shape).find("at least 8"), std::string::npos);
  EXPECT_NE(refusal("images", {8, 8}).find("'images' have one shape"), std::string::npos);
}

TEST(GenerateSubwords, FourCanFollowEachOfManySymbols) {
  const ScratchDirectory directory;
  const GenerateOptions some = options("subwords", 400'000, directory / "data");
  generate(some);
  const std::vector<double> tokens = numbers(DType::kUInt16, read_columns(some.out).at("tokens"));
  EXPECT_LT(*std::ranges::max_element(tokens), 50257);
  std::map<double, std::map<double, double>> after;
  for (std::size_t i = 1; i < tokens.size(); ++i) after[tokens[i - 1]][tokens[i]] += 1;
  EXPECT_GT(after.size(), 20'000U);
  double likeliest = 0;
  double all = 0;
  for (const auto& [symbol, next] : after) {
    EXPECT_LE(next.size(), 4U);
    double most = 0;
    double sum = 0;
    for (const auto& [following, count] : next) {
      most = std::max(most, count);
      sum += count;
    }
    if (sum < 30) continue;
    likeliest += most;
    all += sum;
  }
  EXPECT_GT(all, 10'000) << "symbols that come often";
  EXPECT_NEAR(likeliest / all, 0.5, 0.04);
}

TEST(Generate, DealsRowsEvenly) {
  const ScratchDirectory directory;
  GenerateOptions some = options("tabular", 10, directory / "data");
  some.partitions = 4;
  generate(some);
  EXPECT_EQ(rows_of_partitions(some.out), (std::vector<std::uint64_t>{3, 3, 2, 2}));
}

TEST(Generate, MakesEmptyPartitionsWhereRowsAreFew) {
  const ScratchDirectory directory;
  GenerateOptions some = options("images", 2, directory / "data");
  some.partitions = 3;
  generate(some);
  EXPECT_EQ(rows_of_partitions(some.out), (std::vector<std::uint64_t>{1, 1, 0}));
}

TEST(Generate, RefusesWhatMakesNoDataset) {
  const ScratchDirectory directory;
  EXPECT_EQ(error_of([&] { generate(options("tabular", 0, directory / "a")); }).code(), ErrorCode::kUsage);
  GenerateOptions none = options("tabular", 5, directory / "b");
  none.partitions = 0;
  EXPECT_EQ(error_of([&] { generate(none); }).code(), ErrorCode::kUsage);
  const Error unknown = error_of([&] { generate(options("card-frauds", 5, directory / "c")); });
  EXPECT_NE(std::string(unknown.what()).find("did you mean 'card-fraud'"), std::string::npos)
      << unknown.what();
  for (const char* name : {"a", "b", "c"}) EXPECT_FALSE(std::filesystem::exists(directory / name)) << name;
}

TEST(Generate, OverwritesNothing) {
  const ScratchDirectory directory;
  for (const char* name : {"contract.yaml", "manifest.json", "mine.h5", "mine.hdf5"}) {
    const std::filesystem::path out = directory / (std::string("with-") + name);
    std::filesystem::create_directory(out);
    write_file(out / name, "mine");
    const Error error = error_of([&] { generate(options("tabular", 5, out)); });
    EXPECT_EQ(error.code(), ErrorCode::kUsage);
    EXPECT_EQ(error.where(), out.string());
    EXPECT_NE(error.message().find(name), std::string::npos) << error.what();
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(out), {}), 1);
  }
  const std::filesystem::path with_notes = directory / "with-notes";
  std::filesystem::create_directory(with_notes);
  write_file(with_notes / "notes.txt", "mine");
  generate(options("tabular", 5, with_notes));
  EXPECT_TRUE(std::filesystem::exists(with_notes / "contract.yaml"));
}

TEST(Images, CanBeLearntButNotByAveragesAlone) {
  const ScratchDirectory directory;
  const GenerateOptions some = options("images", 3000, directory / "data");
  generate(some);
  const Columns columns = read_columns(some.out);
  const std::vector<double> pixels = numbers(DType::kUInt8, columns.at("image"));
  const std::vector<double> labels = numbers(DType::kUInt8, columns.at("label"));
  constexpr std::size_t kPixels = 28 * 28;
  // Nearest mean picture: means of the first 2000, tried on the others.
  std::vector<std::vector<double>> means(10, std::vector<double>(kPixels));
  std::vector<double> counts(10);
  for (std::size_t row = 0; row < 2000; ++row) counts[static_cast<std::size_t>(labels[row])] += 1;
  for (std::size_t i = 0; i < 2000 * kPixels; ++i) {
    const auto label = static_cast<std::size_t>(labels[i / kPixels]);
    means[label][i % kPixels] += pixels[i] / counts[label];
  }
  double right = 0;
  for (std::size_t row = 2000; row < 3000; ++row) {
    std::vector<double> distance(10);
    for (std::size_t label = 0; label < 10; ++label) {
      for (std::size_t i = 0; i < kPixels; ++i) {
        const double difference = pixels[row * kPixels + i] - means[label][i];
        distance[label] += difference * difference;
      }
    }
    const auto nearest = std::min_element(distance.begin(), distance.end()) - distance.begin();
    right += static_cast<double>(nearest) == labels[row] ? 1 : 0;
  }
  EXPECT_GT(*std::min_element(counts.begin(), counts.end()), 120);
  EXPECT_GT(right / 1000, 0.2);
  EXPECT_LT(right / 1000, 0.8);
}

TEST(Tabular, TargetFollowsFeaturesAndTheirInteraction) {
  const ScratchDirectory directory;
  const GenerateOptions some = options("tabular", 20'000, directory / "data");
  generate(some);
  const Columns columns = read_columns(some.out);
  const auto column = [&](const char* name) { return numbers(DType::kFloat32, columns.at(name)); };
  const std::vector<double> target = column("target");
  // Mean of the target over rows with `x` above a half, less that over the others; where x5 is on one side.
  const auto effect = [&](const char* name, bool switched) {
    const std::vector<double> x = column(name);
    const std::vector<double> x5 = column("x5");
    std::array<double, 2> sum{};
    std::array<double, 2> count{};
    for (std::size_t row = 0; row < x.size(); ++row) {
      if (std::isnan(x5[row]) || (x5[row] > 0.5) != switched) continue;
      sum[x[row] > 0.5 ? 1 : 0] += target[row];
      count[x[row] > 0.5 ? 1 : 0] += 1;
    }
    return sum[1] / count[1] - sum[0] / count[0];
  };
  EXPECT_NEAR(effect("x3", false), 5, 0.5);
  EXPECT_NEAR(effect("x3", true), 5, 0.5);
  EXPECT_NEAR(effect("x0", false), 0, 0.5);
  EXPECT_GT(effect("x0", true), 2);
}

}  // namespace
}  // namespace muster::testing
