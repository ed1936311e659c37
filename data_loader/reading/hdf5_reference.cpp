#include "data_loader/reading/hdf5_reference.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "core/text.h"

namespace muster::hdf5 {
namespace {

namespace fs = std::filesystem;

/// A name that the library gives in a buffer whose length must be asked first.
template <typename Get>
std::string name_of(const Get& get) {
  const ::ssize_t length = get(nullptr, std::size_t{0});
  if (length <= 0) return "";
  std::string name(static_cast<std::size_t>(length) + 1, '\0');
  get(name.data(), name.size());
  name.resize(static_cast<std::size_t>(length));
  return name;
}

std::vector<hsize_t> extents(hid_t space) {
  std::vector<hsize_t> shape(static_cast<std::size_t>(std::max(0, H5Sget_simple_extent_ndims(space))));
  H5Sget_simple_extent_dims(space, shape.data(), nullptr);
  return shape;
}

/// "%b" is the number of a block, "%%" a percent sign (H5Pset_virtual).
std::string expand(std::string_view pattern, std::uint64_t block) {
  std::string name;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const bool special = pattern[i] == '%' && i + 1 < pattern.size();
    if (special && pattern[i + 1] == 'b') name += std::to_string(block);
    if (special && pattern[i + 1] == '%') name += '%';
    if (special && (pattern[i + 1] == 'b' || pattern[i + 1] == '%')) {
      ++i;
      continue;
    }
    name += pattern[i];
  }
  return name;
}

/// What a selection takes of a dataset of this shape: one without an end in a dimension is cut there. Invalid
/// where that is nothing.
Handle clipped(hid_t space, hid_t target, const std::vector<hsize_t>& shape) {
  const std::size_t rank = shape.size();
  std::vector<hsize_t> start(rank), stride(rank), count(rank), block(rank);
  Handle made(H5Scopy(H5Sget_select_type(target) == H5S_SEL_HYPERSLABS ? space : target), H5Sclose);
  if (H5Sget_select_type(target) != H5S_SEL_HYPERSLABS) return made;
  if (H5Sis_regular_hyperslab(target) <= 0 ||
      H5Sget_regular_hyperslab(target, start.data(), stride.data(), count.data(), block.data()) < 0)
    return Handle(H5Scopy(target), H5Sclose);
  std::vector<hsize_t> last_start = start, last_count = count, last_block = block;
  bool has_last = false;
  for (std::size_t i = 0; i < rank; ++i) {
    if (count[i] != H5S_UNLIMITED && block[i] != H5S_UNLIMITED) continue;
    const hsize_t left = shape[i] > start[i] ? shape[i] - start[i] : 0;
    if (block[i] == H5S_UNLIMITED) {
      block[i] = last_block[i] = left;
      continue;
    }
    count[i] = left < block[i] ? 0 : (left - block[i]) / stride[i] + 1;
    const hsize_t done = count[i] * stride[i];
    has_last = left > done;  // a block that the end cuts
    last_start[i] = start[i] + done;
    last_count[i] = 1;
    last_block[i] = has_last ? std::min(block[i], left - done) : 0;
  }
  H5Sselect_none(made.get());
  const bool whole = std::ranges::count(count, hsize_t{0}) + std::ranges::count(block, hsize_t{0}) == 0;
  if (whole)
    H5Sselect_hyperslab(made.get(), H5S_SELECT_SET, start.data(), stride.data(), count.data(), block.data());
  if (has_last)
    H5Sselect_hyperslab(made.get(), whole ? H5S_SELECT_OR : H5S_SELECT_SET, last_start.data(), stride.data(),
                        last_count.data(), last_block.data());
  return whole || has_last ? std::move(made) : Handle();
}

/// How many blocks a mapping without an end has in a dataset of this shape; 1 of one that ends.
std::uint64_t blocks_of(hid_t space, const std::vector<hsize_t>& shape) {
  std::vector<hsize_t> start(shape.size()), stride(shape.size()), count(shape.size()), block(shape.size());
  if (H5Sget_select_type(space) != H5S_SEL_HYPERSLABS || H5Sis_regular_hyperslab(space) <= 0 ||
      H5Sget_regular_hyperslab(space, start.data(), stride.data(), count.data(), block.data()) < 0)
    return 1;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (count[i] != H5S_UNLIMITED || stride[i] == 0) continue;
    return shape[i] <= start[i] ? 0 : (shape[i] - start[i] - 1) / stride[i] + 1;
  }
  return 1;
}

/// One mapping of a virtual dataset.
struct Mapping {
  std::string file;
  std::string dataset;
  Handle target;  ///< what it fills
  Handle source;  ///< what it takes
};

Mapping mapping(hid_t properties, std::size_t i) {
  return {
      name_of([&](char* out, std::size_t size) { return H5Pget_virtual_filename(properties, i, out, size); }),
      name_of([&](char* out, std::size_t size) { return H5Pget_virtual_dsetname(properties, i, out, size); }),
      Handle(H5Pget_virtual_vspace(properties, i), H5Sclose),
      Handle(H5Pget_virtual_srcspace(properties, i), H5Sclose)};
}

/// Adds what a mapping fills to what others do.
bool cover(hid_t covered, hid_t target, bool selected) {
  if (H5Sget_select_type(target) == H5S_SEL_ALL) return H5Sselect_all(covered) >= 0;
  if (!selected) return H5Sselect_copy(covered, target) >= 0;
  if (H5Sget_select_type(covered) == H5S_SEL_ALL) return true;
  return H5Smodify_select(covered, H5S_SELECT_OR, target) >= 0;
}

/// Members may be virtual themselves, so many deep.
constexpr int kMostDepth = 8;

std::string refuse_virtual(hid_t dataset, hid_t properties, const fs::path& file, int depth);

/// What a member's own values refer to. The library would look for a member's external files where the
/// process runs, whatever the virtual dataset was opened with.
std::string refuse_references(hid_t dataset, const fs::path& file, int depth) {
  const Handle properties(H5Dget_create_plist(dataset), H5Pclose);
  if (H5Pget_external_count(properties.get()) > 0)
    return "its values are in external files, which are read through no virtual dataset: ingest it";
  if (H5Pget_layout(properties.get()) != H5D_VIRTUAL) return "";
  return refuse_virtual(dataset, properties.get(), file, depth);
}

/// A member as a mapping names it.
struct Member {
  hid_t file;
  fs::path path;  ///< of the file
  std::string dataset;
  std::string name;  ///< of the file, for messages
};

/// Why a member cannot give what `source` selects, or "".
std::string refuse_member(const Member& member, hid_t source, int depth) {
  std::string reason;
  const Handle access(H5Pcreate(H5P_DATASET_ACCESS), H5Pclose);
  confine_references(access.get(), reason);
  const Handle opened(H5Dopen2(member.file, member.dataset.c_str(), access.get()), H5Dclose);
  const std::string name = readable_text(member.name);
  if (!opened.valid())
    return reason.empty()
               ? fmt::format("its virtual member {} has no dataset {}", name, readable_text(member.dataset))
               : fmt::format("in its virtual member {} {}", name, reason);
  const std::string wrong = refuse_references(opened.get(), member.path, depth + 1);
  if (!wrong.empty()) return fmt::format("of its virtual member {}: {}", name, wrong);
  const Handle space(H5Dget_space(opened.get()), H5Sclose);
  const std::vector<hsize_t> shape = extents(space.get());
  std::vector<hsize_t> first(shape.size()), last(shape.size());
  if (H5Sget_simple_extent_ndims(source) != static_cast<int>(shape.size()) ||
      H5Sget_select_bounds(source, first.data(), last.data()) < 0)
    return "";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    const bool endless = last[i] >= H5S_UNLIMITED - 1;  // as long as the member is
    if (!endless && last[i] >= shape[i])
      return fmt::format("its virtual member {} is shorter than what is taken from it", name);
  }
  return "";
}

/// Blocks of a pattern looked at beyond the one that is missing.
constexpr std::uint64_t kLookAhead = 256;

std::string refuse_mapping(const Mapping& mapped, const std::vector<hsize_t>& shape, hid_t own_file,
                           const fs::path& file, int depth) {
  const bool pattern = expand(mapped.file, 0) != mapped.file || expand(mapped.dataset, 0) != mapped.dataset;
  const std::uint64_t blocks = pattern ? blocks_of(mapped.target.get(), shape) : 1;
  for (std::uint64_t block = 0; block < blocks; ++block) {
    const std::string name = pattern ? expand(mapped.file, block) : mapped.file;
    const std::string dataset = pattern ? expand(mapped.dataset, block) : mapped.dataset;
    std::string wrong;
    if (name == ".") {
      wrong = refuse_member({own_file, file, dataset, name}, mapped.source.get(), depth);
    } else {
      wrong = refuse_reference(file, name);
      if (!wrong.empty()) return "its virtual member " + wrong;
      const fs::path path = file.parent_path() / name;
      const Handle access(H5Fget_access_plist(own_file), H5Pclose);
      const Handle opened(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.get()), H5Fclose);
      if (!opened.valid())
        return fmt::format("its virtual member {} cannot be opened: {}", readable_text(name),
                           last_failure().message);
      wrong = refuse_member({opened.get(), path, dataset, name}, mapped.source.get(), depth);
    }
    if (!wrong.empty()) return wrong;
  }
  // The dataset ends where the first member is missing: rows of later ones would be left out in silence.
  for (std::uint64_t block = blocks; pattern && block < blocks + kLookAhead; ++block) {
    const std::string later = expand(mapped.file, block);
    if (later == mapped.file || !refuse_reference(file, later).empty()) continue;
    return fmt::format("its virtual member {} is missing, though {} is there",
                       readable_text(expand(mapped.file, blocks)), readable_text(later));
  }
  return "";
}

std::string refuse_virtual(hid_t dataset, hid_t properties, const fs::path& file, int depth) {
  if (depth > kMostDepth) return fmt::format("virtual datasets of each other, more than {} deep", kMostDepth);
  std::size_t count = 0;
  if (H5Pget_virtual_count(properties, &count) < 0) return "is a virtual dataset without a mapping";
  const Handle space(H5Dget_space(dataset), H5Sclose);
  const std::vector<hsize_t> shape = extents(space.get());
  const Handle own(H5Iget_file_id(dataset), H5Fclose);
  bool selected = false;
  const Handle covered(H5Scopy(space.get()), H5Sclose);
  for (std::size_t i = 0; i < count; ++i) {
    const Mapping mapped = mapping(properties, i);
    std::string wrong = refuse_mapping(mapped, shape, own.get(), file, depth);
    if (!wrong.empty()) return wrong;
    const Handle target = clipped(space.get(), mapped.target.get(), shape);
    if (target.valid() && !cover(covered.get(), target.get(), std::exchange(selected, true)))
      return "is a virtual dataset whose mappings cannot be put together";
  }
  const hssize_t all = H5Sget_simple_extent_npoints(space.get());
  const hssize_t held = selected ? H5Sget_select_npoints(covered.get()) : 0;
  if (held < all)
    return fmt::format("is a virtual dataset of {} values, of which its members hold {}", all, held);
  return "";
}

/// Called by the library before it follows an external link; must not throw through it.
herr_t may_follow(const char* parent, const char*, const char* child, const char*, unsigned*, hid_t,
                  void* reason) {
  try {
    std::string& why = *static_cast<std::string*>(reason);
    why = refuse_reference(parent, child);
    if (!why.empty()) why = "an external link leads to " + why;
    return why.empty() ? 0 : -1;
  } catch (...) {
    return -1;
  }
}

}  // namespace

std::string refuse_reference(const fs::path& file, std::string_view name) {
  const fs::path folder = fs::absolute(file).lexically_normal().parent_path();
  const fs::path target = (folder / name).lexically_normal();
  const fs::path inside = target.lexically_relative(folder);
  if (inside.empty() || inside == "." || *inside.begin() == "..")
    return fmt::format("{}, which is outside the folder of the file: put it beside the file, or ingest both",
                       readable_text(name));
  std::error_code unreadable;
  if (!fs::exists(target, unreadable)) return fmt::format("{}, which is missing", readable_text(name));
  return "";
}

std::string refuse_external_storage(hid_t properties, std::uint64_t bytes, const fs::path& file) {
  std::uint64_t left = H5Pget_external_count(properties) > 0 ? bytes : 0;
  constexpr std::size_t kMostName = 4096;
  for (int i = 0; i < H5Pget_external_count(properties); ++i) {
    std::string name(kMostName, '\0');
    off_t offset = 0;
    hsize_t size = 0;
    if (H5Pget_external(properties, static_cast<unsigned>(i), name.size(), name.data(), &offset, &size) < 0)
      return "names no file of its external storage";
    name.resize(std::char_traits<char>::length(name.c_str()));
    const std::string wrong = refuse_reference(file, name);
    if (!wrong.empty()) return "its values are in the external file " + wrong;
    // What a file is too short for reads as zeros.
    const std::uint64_t taken = size == H5F_UNLIMITED ? left : std::min<std::uint64_t>(left, size);
    const std::uint64_t needed = static_cast<std::uint64_t>(offset) + taken;
    std::error_code unreadable;
    const std::uint64_t there = fs::file_size(fs::absolute(file).parent_path() / name, unreadable);
    if (unreadable || there < needed)
      return fmt::format("its values are in the external file {}, which has {} bytes where {} are needed",
                         readable_text(name), unreadable ? 0 : there, needed);
    left -= taken;
  }
  return left == 0 ? "" : "its external files are too few for its values";
}

std::string refuse_virtual_members(hid_t dataset, hid_t properties, const fs::path& file) {
  return refuse_virtual(dataset, properties, file, 0);
}

void confine_references(hid_t access, std::string& reason) {
  H5Pset_elink_cb(access, may_follow, &reason);
  H5Pset_virtual_view(access, H5D_VDS_FIRST_MISSING);
}

}  // namespace muster::hdf5
