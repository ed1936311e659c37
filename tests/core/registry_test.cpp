#include "core/registry.h"

#include <gtest/gtest.h>

namespace muster {
namespace {

struct Shape {
  int corners = 0;
};
struct Colour {};

Registry<Shape>& shapes() { return Registry<Shape>::of_kind("shape"); }

const bool kTriangle = shapes().add("triangle", {3});
const bool kSquare = shapes().add("square", {4});

TEST(Registry, HoldsWhatStaticInitialisersAdd) {
  ASSERT_TRUE(kTriangle && kSquare);
  EXPECT_EQ(shapes().get("triangle").corners, 3);
  EXPECT_EQ(shapes().names(), (std::vector<std::string>{"square", "triangle"}));
}

TEST(Registry, AnUnknownNameListsTheKnownOnes) {
  try {
    shapes().get("sqare");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kConfig);
    EXPECT_STREQ(error.what(), "there is no shape 'sqare' (did you mean 'square'?); known: square, triangle");
  }
}

TEST(Registry, ANameOrAnEntryTypeUsedTwiceIsABug) {
  for (const auto& body : {std::function<void()>([] { shapes().add("square", {5}); }),
                           std::function<void()>([] { Registry<Shape>::of_kind("outline"); })}) {
    try {
      body();
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kBug);
    }
  }
  EXPECT_EQ(shapes().get("square").corners, 4);
  EXPECT_TRUE(Registry<Colour>::of_kind("colour").names().empty());
}

}  // namespace
}  // namespace muster
