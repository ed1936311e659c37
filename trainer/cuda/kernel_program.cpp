#include "trainer/cuda/kernel_program.h"

#include <nvrtc.h>

#include "core/error.h"
#include "core/text.h"
#include "generated/device_text.h"

namespace muster {
namespace {

void check(nvrtcResult result, const char* what) {
  ensure(result == NVRTC_SUCCESS, "{}: {}", what, nvrtcGetErrorString(result));
}

class Compilation {
 public:
  explicit Compilation(const std::string& file) {
    const std::string text = device_texts().at("types") + device_texts().at(file);
    check(nvrtcCreateProgram(&program_, text.c_str(), (file + ".cu").c_str(), 0, nullptr, nullptr),
          "nvrtcCreateProgram");
  }
  ~Compilation() { nvrtcDestroyProgram(&program_); }
  Compilation(const Compilation&) = delete;
  Compilation& operator=(const Compilation&) = delete;

  std::string run(const std::vector<std::string>& options) {
    std::vector<const char*> words;
    for (const std::string& option : options) words.push_back(option.c_str());
    const nvrtcResult result = nvrtcCompileProgram(program_, static_cast<int>(words.size()), words.data());
    ensure(result == NVRTC_SUCCESS, "device code with {}: {}: {}", join(options, " "),
           nvrtcGetErrorString(result), log());
    std::size_t size = 0;
    check(nvrtcGetCUBINSize(program_, &size), "nvrtcGetCUBINSize");
    std::string code(size, '\0');
    check(nvrtcGetCUBIN(program_, code.data()), "nvrtcGetCUBIN");
    return code;
  }

 private:
  std::string log() const {
    std::size_t size = 0;
    check(nvrtcGetProgramLogSize(program_, &size), "nvrtcGetProgramLogSize");
    std::string text(size, '\0');
    check(nvrtcGetProgramLog(program_, text.data()), "nvrtcGetProgramLog");
    if (!text.empty()) text.pop_back();  // the final zero
    return text;
  }

  nvrtcProgram program_ = nullptr;
};

}  // namespace

std::string compile(const KernelProgram& program, int major, int minor) {
  std::vector<std::string> options{fmt::format("--gpu-architecture=sm_{}{}", major, minor), "--std=c++17"};
  for (const std::string& definition : program.definitions) options.push_back("-D" + definition);
  return Compilation(program.file).run(options);
}

}  // namespace muster
