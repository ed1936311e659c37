"""The losses of a run of Muster beside PyTorch's: compare.py RUN/events.jsonl losses.json"""

import json
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    events = [json.loads(line) for line in file]
ours = [event["loss"] for event in events if event["event"] == "step"]
with open(sys.argv[2], encoding="utf-8") as file:
    theirs = json.load(file)["losses"]
for first in range(0, len(theirs), 40):
    print(f"step {first + 1:4}: Muster {ours[first]:.6f}, PyTorch {theirs[first]:.6f}")
differences = [abs(a - b) / b for a, b in zip(ours, theirs, strict=True)]
print(f"largest relative difference: {max(differences[:20]):.1e} in the first 20 steps, {max(differences):.1e} in all {len(ours)}")
