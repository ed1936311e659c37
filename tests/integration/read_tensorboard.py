"""What TensorBoard's own readers see in a run directory, as one JSON object on stdout. Run by the Python that has TensorBoard.

  scalars, histograms   {tag: [[step, value], …]} by EventAccumulator, which drops what a restart undid
  kept, texts           {tag: [step, …]} of everything, {tag: [[step, text], …]}: by the accumulator behind its web pages
  written               {tag: [step, …]} of all scalars, undone ones too
"""

import json
import sys

from tensorboard.backend.event_processing import event_accumulator, plugin_event_accumulator

ALL = {"scalars": 0, "histograms": 0, "tensors": 0}


def loaded(module, directory, **options):
    accumulator = module.EventAccumulator(directory, size_guidance=ALL, **options)
    accumulator.Reload()
    return accumulator


def main(directory):
    data = loaded(event_accumulator, directory)
    everything = loaded(event_accumulator, directory, purge_orphaned_data=False)
    pages = loaded(plugin_event_accumulator, directory, tensor_size_guidance=ALL)
    tensors = {tag: pages.Tensors(tag) for tag in pages.Tags()["tensors"]}
    texts = pages.PluginTagToContent("text") if "text" in pages.ActivePlugins() else {}
    print(json.dumps({
        "scalars": {tag: [[e.step, e.value] for e in data.Scalars(tag)] for tag in data.Tags()["scalars"]},
        "histograms": {tag: [[e.step, vars(e.histogram_value)] for e in data.Histograms(tag)]
                       for tag in data.Tags()["histograms"]},
        "kept": {tag: [e.step for e in events] for tag, events in tensors.items()},
        "texts": {tag: [[e.step, e.tensor_proto.string_val[0].decode()] for e in tensors[tag]] for tag in texts},
        "written": {tag: [e.step for e in everything.Scalars(tag)] for tag in everything.Tags()["scalars"]},
    }, default=list))


main(sys.argv[1])
