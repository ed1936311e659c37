#include "data_loader/reading/probe.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <iostream>

#include "core/text.h"
#include "tests/data_loader/partition_cases.h"
#include "tests/data_loader/scratch_directory.h"

namespace muster {
namespace {

using namespace muster::testing;  // NOLINT: the helpers beside this test

const std::filesystem::path kProbe = MUSTER_PROBE;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// A program in place of muster-probe that says it is ready and then does what `script` says.
std::filesystem::path stand_in(const ScratchDirectory& directory, const std::string& script) {
  const std::filesystem::path path = directory / "stand-in";
  write_file(path, "#!/bin/bash\necho muster-probe ready\n" + script + "\n");
  std::filesystem::permissions(path, std::filesystem::perms::owner_all);
  return path;
}

TEST(Probe, AnswersAsThePartitionFileItself) {
  const ScratchDirectory directory;
  write_random(directory / "a\n\"b\".h5",
               {make_field("x", DType::kFloat32, {5}), make_field("g/y", DType::kUInt8)}, 40, 16,
               Codec::kGzip, {40});
  write_random(directory / "empty.h5", {make_field("x", DType::kInt64)}, 0, 16, Codec::kNone, {1});
  const std::vector<std::filesystem::path> files{directory / "a\n\"b\".h5", directory / "empty.h5"};
  const auto answers = probe_files(kProbe, files);
  ASSERT_EQ(answers.size(), files.size());
  for (std::size_t i = 0; i < files.size(); ++i) {
    ASSERT_TRUE(answers[i].ok()) << answers[i].error().what();
    const std::vector<DatasetLayout> expected = PartitionFile(files[i]).layouts();
    ASSERT_EQ(answers[i].value().size(), expected.size());
    for (std::size_t d = 0; d < expected.size(); ++d) {
      const DatasetLayout& found = answers[i].value()[d];
      EXPECT_EQ(found.path, expected[d].path);
      EXPECT_EQ(found.dtype, expected[d].dtype);
      EXPECT_EQ(found.type_name, expected[d].type_name);
      EXPECT_EQ(found.shape, expected[d].shape);
      EXPECT_EQ(found.chunk, expected[d].chunk);
      EXPECT_EQ(found.filters, expected[d].filters);
      EXPECT_EQ(found.refusal, expected[d].refusal);
      EXPECT_EQ(found.member, expected[d].member);
      EXPECT_EQ(found.single, expected[d].single);
    }
  }
}

TEST(Probe, PassesOnWhatIsWrongWithEachFile) {
  const ScratchDirectory directory;
  write_random(directory / "good.h5", {make_field("x", DType::kFloat32)}, 100, 16, Codec::kNone, {100});
  const std::string good = read_file(directory / "good.h5");
  write_file(directory / "cut.h5", good.substr(0, good.size() / 2));
  write_file(directory / "page.h5", "<!doctype html>");
  const std::vector<std::filesystem::path> files{directory / "cut.h5", directory / "absent.h5",
                                                 directory / "good.h5", directory / "page.h5"};
  const auto answers = probe_files(kProbe, files);
  ASSERT_EQ(answers.size(), 4U);
  EXPECT_EQ(answers[0].error().code(), ErrorCode::kData);
  EXPECT_EQ(answers[0].error().where(), files[0].string());
  EXPECT_SAYS(answers[0].error(), "truncated");
  EXPECT_EQ(answers[1].error().code(), ErrorCode::kStorage);
  EXPECT_TRUE(answers[2].ok());
  EXPECT_SAYS(answers[3].error(), "HTML page");
}

TEST(Probe, ReadsTheFirstAndTheLastRow) {
  const ScratchDirectory directory;
  write_random(directory / "p.h5", {make_field("x", DType::kFloat32, {500})}, 32, 16, Codec::kGzip, {32});
  std::string content = read_file(directory / "p.h5");
  content[content.size() - 1000] = static_cast<char>(content[content.size() - 1000] ^ 0x40);
  write_file(directory / "p.h5", content);
  const std::vector<std::filesystem::path> files{directory / "p.h5"};
  const auto answers = probe_files(kProbe, files);
  EXPECT_EQ(answers[0].error().where(), files[0].string() + ":x[31..31]");
}

TEST(Probe, RefusesADatasetThatDeclaresTooMuch) {
  const ScratchDirectory directory;
  write_random(directory / "p.h5", {make_field("x", DType::kFloat32)}, 100, 16, Codec::kNone, {100});
  const std::vector<std::filesystem::path> files{directory / "p.h5"};
  ProbeLimits limits;
  limits.declared_bytes = 399;
  const auto refused = probe_files(kProbe, files, limits);
  EXPECT_EQ(refused[0].error().where(), files[0].string() + ":x");
  EXPECT_SAYS(refused[0].error(), "declares more than 399 bytes");
  limits.declared_bytes = 400;
  EXPECT_TRUE(probe_files(kProbe, files, limits)[0].ok());
}

TEST(Probe, ACrashCostsOneFileAndOneChild) {
  const ScratchDirectory directory;
  const auto program = stand_in(directory, R"(while IFS= read -r -d '' path; do
    case "$path" in
      crash) kill -SEGV $$ ;;
      exit) exit 3 ;;
      alarm) kill -ALRM $$ ;;
      babble) echo '{"no' ;;
      *) echo '{"datasets": []}' ;;
    esac
  done)");
  const std::vector<std::filesystem::path> files{"good", "crash", "good", "exit", "alarm", "babble", "good"};
  const auto answers = probe_files(program, files);
  ASSERT_EQ(answers.size(), files.size());
  for (const std::size_t good : {0, 2, 6}) EXPECT_TRUE(answers[good].ok());
  for (const std::size_t bad : {1, 3, 4, 5}) {
    EXPECT_EQ(answers[bad].error().code(), ErrorCode::kData);
    EXPECT_EQ(answers[bad].error().where(), files[bad].string());
  }
  EXPECT_SAYS(answers[1].error(), "Segmentation fault");
  EXPECT_SAYS(answers[3].error(), "exit code 3");
  EXPECT_SAYS(answers[4].error(), "took over 20 s");
  EXPECT_SAYS(answers[5].error(), "nonsense");
  for (const std::size_t bad : {1, 3, 4, 5}) EXPECT_EQ(is_harmful(answers[bad].error()), bad != 5) << bad;
}

TEST(Probe, AHangIsCutShort) {
  const ScratchDirectory directory;
  const auto program = stand_in(directory, R"(trap '' ALRM TERM
  while IFS= read -r -d '' path; do
    if [ "$path" = hang ]; then while :; do :; done; fi
    echo '{"datasets": []}'
  done)");
  const std::vector<std::filesystem::path> files{"hang", "good"};
  ProbeLimits limits;
  limits.seconds_per_file = 0.5;
  const auto start = std::chrono::steady_clock::now();
  const auto answers = probe_files(program, files, limits);
  EXPECT_LT(seconds_since(start), 20);
  EXPECT_SAYS(answers[0].error(), "took over 0.5 s");
  EXPECT_TRUE(is_harmful(answers[0].error()));
  EXPECT_TRUE(answers[1].ok());
}

TEST(Probe, AProgramThatIsNoProbeIsNoFaultOfTheFiles) {
  const std::vector<std::filesystem::path> files{"p.h5"};
  const Error absent = error_of([&] { probe_files("/no/such/muster-probe", files); });
  EXPECT_EQ(absent.code(), ErrorCode::kStorage);
  EXPECT_SAYS(absent, "/no/such/muster-probe");
  const Error other = error_of([&] { probe_files("/bin/false", files); });
  EXPECT_EQ(other.code(), ErrorCode::kStorage);
  EXPECT_SAYS(other, "exit code 1");
  EXPECT_TRUE(probe_files(kProbe, {}).empty());
}

struct ZooFile {
  std::filesystem::path path;
  bool damaged;
  std::string note;
};

/// The rows of the zoo's MANIFEST.tsv: file, group ("damaged" or a kind of valid one), note, ….
std::vector<ZooFile> zoo(const std::filesystem::path& root) {
  std::vector<ZooFile> files;
  const std::string manifest = read_file(root / "MANIFEST.tsv");
  bool header = true;
  for (const std::string& line : split(manifest, '\n')) {
    const std::vector<std::string> cells = split(line, '\t');
    if (!std::exchange(header, false) && cells.size() > 2) {
      files.push_back({root / cells[0], cells[1] == "damaged", cells[2]});
    }
  }
  return files;
}

TEST(Probe, EveryFileOfTheZooGetsAnAnswer) {
  const char* data = std::getenv("MUSTER_DATA");
  const std::filesystem::path root = std::filesystem::path(data == nullptr ? "" : data) / "hdf5-zoo";
  if (data == nullptr || !std::filesystem::exists(root / "MANIFEST.tsv")) {
    GTEST_SKIP() << "set MUSTER_DATA to a folder with hdf5-zoo/ to probe HDF5 files by other programs";
  }
  const std::vector<ZooFile> files = zoo(root);
  std::vector<std::filesystem::path> paths;
  for (const ZooFile& file : files) paths.push_back(file.path);
  ProbeLimits limits;
  limits.seconds_per_file = 5;
  const auto answers = probe_files(kProbe, paths, limits);
  ASSERT_EQ(answers.size(), files.size());
  int valid = 0, valid_ok = 0, damaged = 0, damaged_refused = 0;
  for (std::size_t i = 0; i < files.size(); ++i) {
    (files[i].damaged ? damaged : valid) += 1;
    if (answers[i].ok() && !files[i].damaged) ++valid_ok;
    if (answers[i].ok()) continue;
    if (files[i].damaged) ++damaged_refused;
    EXPECT_SAYS(answers[i].error(), files[i].path.string());
    EXPECT_EQ(std::string(answers[i].error().what()).find('\n'), std::string::npos);
    EXPECT_EQ(std::string(answers[i].error().what()).find("no reason"), std::string::npos);
    std::cout << "  " << (files[i].damaged ? "damaged: " : "valid: ") << answers[i].error().what() << '\n';
  }
  std::cout << "  valid files opened: " << valid_ok << " of " << valid
            << "; damaged files refused: " << damaged_refused << " of " << damaged << '\n';
  EXPECT_EQ(valid, 66);
  EXPECT_GE(valid_ok, 56);
  EXPECT_EQ(damaged, 22);
  EXPECT_GE(damaged_refused, 12);
}

}  // namespace
}  // namespace muster
