#include "core/text.h"
#include "launch/invocation.h"
#include "trainer/checkpoint/checkpoint_path.h"
#include "trainer/checkpoint/export_weights.h"

namespace muster {

void add_export(CLI::App& app, Invocation& invocation) {
  CLI::App* command = add_command(app, invocation, "export",
                                  "a checkpoint's weights as one safetensors file, for PyTorch and others",
                                  "muster export runs/card-fraud --out card-fraud.safetensors");
  struct Flags {
    std::string checkpoint;
    std::string out;
    std::vector<std::string> names;
  };
  auto flags = std::make_shared<Flags>();
  command->add_option("CKPT", flags->checkpoint, "a checkpoint, or a run directory: its best checkpoint")
      ->required();
  command->add_option("--out", flags->out, "the file to write")->required();
  command
      ->add_option(
          "--names", flags->names,
          "'OURS = THEIRS': what tensors are called there, * for any text; 'OURS = THEIRS transposed' "
          "for a matrix that lies the other way; or a list that the model has: gpt2 of a gpt")
      ->allow_extra_args(false);
  command->callback([&invocation, flags] {
    invocation.action = [&invocation, flags] {
      Console console(invocation.json, false);
      const auto files = make_posix_file_system();
      const auto checkpoint = resolve_checkpoint(*files, flags->checkpoint, console.sink());
      const ExportReport report = export_weights(*files, checkpoint, flags->out, flags->names);
      console.result({{"checkpoint", checkpoint.string()},
                      {"step", report.step},
                      {"file", flags->out},
                      {"tensors", report.tensors},
                      {"bytes", report.bytes}},
                     fmt::format("{}: {} tensors of {} (step {}), {}. In Python:\n"
                                 "  from safetensors.torch import load_file\n"
                                 "  model.load_state_dict(load_file(\"{}\"))",
                                 flags->out, report.tensors, checkpoint.string(), human_count(report.step),
                                 human_bytes(report.bytes), flags->out));
      return 0;
    };
  });
}

}  // namespace muster
