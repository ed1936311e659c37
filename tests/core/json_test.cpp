#include "core/json.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace muster {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

TEST(ParseJson, NamesTheFileAndThePlace) {
  EXPECT_EQ(parse_json(R"({"a": [1, 2]})", "x.json").at("a").at(1), 2);
  try {
    parse_json(R"({"a": ])", "x.json", ErrorCode::kData);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kData);
    EXPECT_STREQ(error.what(), "x.json: is not JSON (at byte 7)");
  }
  EXPECT_THROW(parse_json("", "x.json"), Error);
  EXPECT_THROW(parse_json("{} {}", "x.json"), Error);
}

TEST(Canonical, SortsKeysAndWritesShortestNumbers) {
  EXPECT_EQ(canonical(Json::parse(R"({"b": 0.1, "a": [1, -2, 1e300, true, null, "x\n"]})")),
            R"({"a":[1,-2,1e+300,true,null,"x\n"],"b":0.1})");
}

TEST(Canonical, NumbersComeBackToTheBit) {
  for (const double value : {0.1, 1.0 / 3, 5e-324, 1.7976931348623157e308, -0.0, 16777217.0}) {
    const double back = Json::parse(canonical(Json(value))).get<double>();
    EXPECT_EQ(std::signbit(back), std::signbit(value));
    EXPECT_EQ(back, value);
  }
}

TEST(Canonical, RefusesWhatJsonCannotHold) {
  EXPECT_THROW(canonical(Json{{"a", {1.0, kInfinity}}}), Error);
  EXPECT_THROW(canonical(Json(std::nan(""))), Error);
  EXPECT_EQ(canonical(Json("\xff")), "\"\xef\xbf\xbd\"");  // bytes that are no UTF-8
}

TEST(JsonNumber, WritesNonFiniteNumbersAsText) {
  EXPECT_EQ(json_number(1.5), Json(1.5));
  EXPECT_EQ(json_number(std::nan("")), Json("NaN"));
  EXPECT_EQ(json_number(kInfinity), Json("Infinity"));
  EXPECT_EQ(json_number(-kInfinity), Json("-Infinity"));
}

TEST(Member, SaysWhatIsWrong) {
  const Json object = {{"n", 3}, {"t", "x"}};
  EXPECT_EQ(member<int>(object, "n", "f"), 3);
  const auto message = [&](const Json& json, const char* key) {
    try {
      member<int>(json, key, "f", ErrorCode::kConfig);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kConfig);
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(message(object, "t"), "f: 't' has the wrong type");
  EXPECT_EQ(message(object, "u"), "f: has no 'u'");
  EXPECT_EQ(message(Json::array(), "n"), "f: has no 'n'");
  EXPECT_EQ(message(Json(nullptr), "n"), "f: has no 'n'");
}

}  // namespace
}  // namespace muster
