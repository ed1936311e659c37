"""Runs the Python program of a Markdown page; its own assertions decide."""
import re
import sys

page = open(sys.argv[1], encoding="utf-8").read()
programs = re.findall(r"^```python\n(.*?)^```", page, re.S | re.M)
assert len(programs) == 1, f"{sys.argv[1]} has {len(programs)} Python programs, 1 was expected"
exec(compile(programs[0], sys.argv[1], "exec"), {})
