// Fields that are members of compound rows.
#include <gtest/gtest.h>

#include "data_loader/contract/contract.h"
#include "tests/data_loader/error_of.h"

namespace muster {
namespace {

using testing::error_of;

Contract parse(const std::string& fields) {
  return Contract::parse(YamlNode::parse(
      "version: 1\nfields: {" + fields + "}\nsplits: {by: fraction, train: 1}\n", "contract.yaml"));
}

TEST(ContractMembers, ReadBackAndAreInTheHash) {
  const Contract contract = parse(
      "x: {path: table, member: [pos, x], dtype: float32}, y: {path: /table, member: y, dtype: float32}");
  EXPECT_EQ(contract.field("x").member, (std::vector<std::string>{"pos", "x"}));
  EXPECT_EQ(contract.field("x").location(), "table.pos.x");
  EXPECT_EQ(contract.field("y").location(), "table.y");
  const Contract back = Contract::parse(YamlNode::parse(contract.to_yaml(), "back"));
  EXPECT_EQ(back.hash(), contract.hash());
  EXPECT_EQ(back.field("x").member, contract.field("x").member);
  EXPECT_EQ(Contract::from_json(contract.to_json(), "here").hash(), contract.hash());
  EXPECT_NE(parse("x: {path: table, member: [pos, y], dtype: float32}").hash(),
            parse("x: {path: table, member: [pos, x], dtype: float32}").hash());
  EXPECT_EQ(parse("x: {member: [a], dtype: int8}").hash(), parse("x: {member: a, dtype: int8}").hash());
}

TEST(ContractMembers, FaultsAreOneLineAtTheirPlace) {
  const auto said = [](const std::string& fields) {
    return std::string(error_of([&] { parse(fields); }).what());
  };
  EXPECT_NE(said("x: {path: t, member: a, dtype: int8}, y: {path: t, member: a, dtype: int8}")
                .find("'x' and 'y' both read the dataset 't.a'"),
            std::string::npos);
  for (const char* member : {"[]", "''", "[a, '']"}) {
    EXPECT_NE(
        said(std::string("x: {member: ") + member + ", dtype: int8}").find("contract.yaml:2:14: a member"),
        std::string::npos)
        << said(std::string("x: {member: ") + member + ", dtype: int8}");
  }
}

}  // namespace
}  // namespace muster
