"""docs/events.md names every event and field that the code writes, and no other.

events_doc_test.py REPOSITORY
"""
import pathlib
import re
import sys
import unittest

ROOT = pathlib.Path(sys.argv.pop())
COMMON = "every event"
CALL = re.compile(r'\b(?:event|events\.write|record->event)\(\s*"(\w+)"')
PAIR = re.compile(r'\{\s*"(\w+)"\s*,')


def balanced(text, start):
    """The text from the bracket at start to its partner."""
    depth = 0
    for i in range(start, len(text)):
        depth += {"(": 1, "{": 1, ")": -1, "}": -1}.get(text[i], 0)
        if depth == 0:
            return text[start:i + 1]
    raise ValueError("unbalanced code")


def keys(braces):
    """Keys of the outermost pairs of {{"a", x}, {"b", {{"c", y}}}}: a and b."""
    found, i = set(), 1
    while i < len(braces):
        if braces[i] == "{":
            pair = balanced(braces, i)
            found.update(PAIR.match(pair).groups() if PAIR.match(pair) else ())
            i += len(pair)
        else:
            i += 1
    return found


def enclosing_block(text, position):
    """The text from the innermost open brace before position."""
    depth = 0
    for i in range(position, 0, -1):
        depth += {"}": 1, "{": -1}.get(text[i], 0)
        if depth < 0:
            return text[i:position]
    return ""


def fields_of_call(text, call):
    arguments = balanced(text, text.index("(", call.start()))
    if re.search(r",\s*fields\)$", arguments):
        start = text.rindex("Json fields = ", 0, call.start())
        initial = keys(balanced(text, text.index("{", start)))
        return initial | set(re.findall(r'fields\["(\w+)"\]', enclosing_block(text, call.start())))
    brace = arguments.find("{")
    return keys(balanced(arguments, brace)) if brace >= 0 else set()


def without_comments(text):
    return re.sub(r"//[^\n]*", "", text)


def returned_by(text, function):
    body = text[text.index(function):]
    return keys(balanced(body, body.index("{", body.index("return"))))


def written(sources):
    """{name: fields} by the code; sources: {path: text}."""
    found = {}
    for text in map(without_comments, sources.values()):
        for call in CALL.finditer(text):
            found.setdefault(call.group(1), set()).update(fields_of_call(text, call))
    text = {path: without_comments(source) for path, source in sources.items()}
    found[COMMON] = set(re.findall(r'line\["(\w+)"\]', text["trainer/runlog/events.cpp"]))
    found["plan"] = returned_by(text["trainer/data/run_plan.cpp"], "RunPlan::to_json")
    found["init"] = returned_by(text["trainer/checkpoint/start_weights.cpp"], "Json record_of")
    found["environment"] = returned_by(text["trainer/loop/environment.cpp"], "Json describe_environment")
    metrics = text["trainer/evaluation/metrics.cpp"]
    start = metrics.index("{", metrics.index("Json metrics = "))
    beside = metrics + "".join(text[f"trainer/evaluation/{name}.cpp"] for name in ("score_stage", "bootstrap", "target_metrics", "evaluator"))
    found["metrics"] = keys(balanced(metrics, start)) | set(re.findall(r'metrics\["(\w+)"\]', beside))
    return found


def documented(page):
    """{heading: fields} of every section with a table."""
    found = {}
    for section in re.split(r"^##+ ", page, flags=re.M)[1:]:
        heading = section.split("\n", 1)[0].strip("` ").lower()
        rows = re.findall(r"^\| `(\w+)` \|", section, flags=re.M)
        if "|---" in section:
            found[heading] = rows
    return found


def differences(sources, page):
    code, text = written(sources), documented(page)
    lines = [f"'{name}' is written and not documented" for name in code.keys() - text.keys()]
    lines += [f"'{name}' is documented and not written" for name in text.keys() - code.keys()]
    for name in code.keys() & text.keys():
        lines += [f"'{name}.{field}' is written and not documented" for field in code[name] - set(text[name])]
        lines += [f"'{name}.{field}' is documented and not written" for field in set(text[name]) - code[name]]
        lines += [f"'{name}.{field}' is documented twice" for field in set(text[name]) if text[name].count(field) > 1]
    return sorted(lines)


class EventsPage(unittest.TestCase):
    def setUp(self):
        files = [p for folder in ("trainer", "launch") for p in sorted((ROOT / folder).rglob("*.cpp"))]
        self.sources = {p.relative_to(ROOT).as_posix(): p.read_text() for p in files}
        self.page = (ROOT / "docs" / "events.md").read_text()

    def test_says_what_the_code_writes(self):
        self.assertEqual(differences(self.sources, self.page), [])

    def test_the_code_is_understood(self):
        code = written(self.sources)
        self.assertEqual(code["fault"], {"exit_code", "message", "where", "phase", "stack"})
        self.assertIn("config", code["run_started"])
        self.assertNotIn("config", code["resumed"])
        self.assertLessEqual({"plan", "bits_may_differ"}, code["resumed"])
        self.assertGreaterEqual(len(code), 13)

    def test_notices_differences(self):
        def after(old, new):
            self.assertIn(old, self.page)
            return differences(self.sources, self.page.replace(old, new, 1))

        self.assertEqual(after("| `gradient_norm` |", "| `norm` |"),
                         ["'step.gradient_norm' is written and not documented", "'step.norm' is documented and not written"])
        self.assertEqual(after("## `stopped`", "## `halted`"),
                         ["'halted' is documented and not written", "'stopped' is written and not documented"])
        self.assertEqual(after("| `mpi` |", "| mpi |"), ["'environment.mpi' is written and not documented"])
        self.sources["launch/new.cpp"] = 'void f() { record.event("born", 0, {{"name", "x"}}); }'
        self.assertEqual(differences(self.sources, self.page), ["'born' is written and not documented"])


if __name__ == "__main__":
    unittest.main()
