#include "core/text.h"
#include "launch/invocation.h"
#include "trainer/checkpoint/checkpoint_path.h"
#include "trainer/checkpoint/checkpoint_store.h"

namespace muster {

void add_verify(CLI::App& app, Invocation& invocation) {
  CLI::App* command =
      add_command(app, invocation, "verify", "check size and SHA-256 of every file of checkpoints",
                  "muster verify runs/card-fraud");
  auto path = std::make_shared<std::string>();
  command->add_option("CKPT", *path, "a checkpoint, or a run directory: all of its checkpoints")->required();
  command->callback([&invocation, path] {
    invocation.action = [&invocation, path] {
      Console console(invocation.json, false);
      const auto files = make_posix_file_system();
      Json all = Json::array();
      std::size_t bad = 0;
      for (const std::filesystem::path& directory : all_checkpoints(*files, *path)) {
        const auto info = verify_checkpoint(*files, directory);
        all.push_back({{"checkpoint", directory.filename().string()}, {"good", info.ok()}});
        if (info.ok()) {
          all.back()["step"] = info.value().step;
          console.line(fmt::format("good     {}  ({} files)", directory.string(),
                                   info.value().manifest.at("files").size()));
        } else {
          bad += 1;
          all.back()["reason"] = info.error().what();
          console.warning(info.error().what());
        }
      }
      console.result({{"checkpoints", all}, {"bad", bad}}, "");
      if (bad > 0)
        throw Error(ErrorCode::kStorage, fmt::format("{} of {} checkpoints are damaged", bad, all.size()),
                    *path);
      return 0;
    };
  });
}

}  // namespace muster
