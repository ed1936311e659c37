"""docs/config.md's table of keys is what `muster config --explain --json` says. As a program it writes the table anew:
python3 tests/docs/config_doc.py MUSTER docs/config.md"""

import json
import pathlib
import subprocess
import sys

BEGIN, END = "<!-- keys: tests/docs/config_doc.py writes this table -->\n", "<!-- end of keys -->\n"


def table(muster):
    keys = json.loads(subprocess.run([muster, "config", "--explain", "--json"], capture_output=True, text=True, check=True).stdout)
    lines = ["| key | type | default | on resume | what |\n", "|---|---|---|---|---|\n"]
    for key in keys["keys"]:
        default = "" if key["default"] is None else f"`{json.dumps(key['default'])}`"
        kind = ", ".join(f"`{choice}`" for choice in key["choices"]) if "choices" in key else key["type"]
        name = f"`{key['key']}`" + (f" (of {key['model']})" if "model" in key else "")
        lines.append(f"| {name} | {kind} | {default} | {key['resume'].split(':')[0]} | {key['help'].replace('|', '/')} |\n")
    return "".join(lines)


def with_table(text, muster):
    begin, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    return text[:begin] + table(muster) + text[end:]


if __name__ == "__main__":
    path = pathlib.Path(sys.argv[2])
    path.write_text(with_table(path.read_text(), sys.argv[1]))
