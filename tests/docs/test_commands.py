"""Every command in the docs is run here, or says why it is not; every name in them is there."""

import importlib
import os
import re
import shlex
import subprocess
import sys
from functools import cache

import pytest
from synflip.cli.reference import commands
from synflip.report.notebook import notebook

from tests.docs.pages import (
    COMMANDS,
    FENCE,
    ROOT,
    blocks,
    command_lines,
    inline,
    marks,
    name,
    pages,
)

#: Options in inline code that are other programs' or no command line's.
FOREIGN = {"--threads", "--help", "--version", "--nthreads", "--memory-limit"}
FOLDERS = ("sw", "hdl", "sim", "tests", "docs", "constraints", "examples", ".ci", ".devcontainer")

every_page = pytest.mark.parametrize("page", pages(), ids=name)


def runnable(page):
    return [block for block in blocks(page.read_text()) if block.language in COMMANDS and block.mark is None]


def test_the_pages_are_found():
    assert {"README.md", "docs/index.md", "docs/guide/selftest.md"} <= {name(page) for page in pages()}
    assert sum(len(runnable(page)) for page in pages()) >= 15


# What is run


@pytest.fixture(scope="module")
def demo_folder(tmp_path_factory):
    """What `make demo` leaves in out/demo, from a shorter training."""
    from synflip import save
    from synflip.compiler.compile import compile_network
    from synflip.data import load
    from synflip.training.train import train
    from synflip.util.outputs import write_array

    folder = tmp_path_factory.mktemp("demo")
    digits = load("digits")
    network = train(digits, (16,), epochs=2, seed=1)
    save(compile_network(network, digits.classes, digits.input_max), folder / "digits.safetensors")
    write_array(folder / "images.npy", digits.test_images)
    write_array(folder / "labels.npy", digits.test_labels)
    return folder


#: Runs the notebook in the file that it is given, cell by cell, and shows what Jupyter would show.
NOTEBOOK = """
import ast, json, sys
names = {"__name__": "__main__"}
for number, cell in enumerate(json.load(open(sys.argv[1], encoding="utf-8"))["cells"]):
    if cell["cell_type"] == "code":
        body = ast.parse("".join(cell["source"]))
        last = body.body.pop() if body.body and isinstance(body.body[-1], ast.Expr) else None
        exec(compile(body, f"cell {number}", "exec"), names)
        value = last and eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), names)
        shows = [getattr(value, show) for show in ("_repr_html_", "_repr_png_") if hasattr(value, show)]
        if value is not None:
            print("shown:", any([show() for show in shows]) or repr(value))
"""


def run_notebook(page, folder):
    (folder / "page.ipynb").write_text(notebook(page.read_text(), small=True), encoding="utf-8")
    return in_environment([sys.executable, "-c", NOTEBOOK, "page.ipynb"], folder)


def run_block(block, folder, script):
    """A shell block at once; a Python block after those before it on its page, for it uses their names."""
    if block.language in ("python", "pycon"):
        return in_environment([sys.executable, "-c", script], folder)
    return in_environment(["bash", "-euo", "pipefail", "-c", block.text], folder)


def in_environment(command, folder):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment["PATH"] = f"{os.path.dirname(sys.executable)}{os.pathsep}{environment['PATH']}"
    environment.pop("SYNFLIP_DATA", None)
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in pages() if runnable(page)], ids=name)
def test_commands_run(page, tmp_path, demo_folder):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "demo").symlink_to(demo_folder)
    todo = runnable(page)
    python = [block for block in todo if block.language == "python"]
    script = "\n".join(f"# line {block.line}\n{block.text}" for block in python)
    for block in todo:
        if block.language == "python" and block is not python[-1]:
            continue  # all Python of a page is one program
        if block.language == "python" and page.parent.name == "tutorials":
            done = run_notebook(page, tmp_path)
        else:
            done = run_block(block, tmp_path, script)
        assert done.returncode == 0, f"{name(page)}, line {block.line}:\n{done.stdout}{done.stderr}"


@every_page
def test_blocks_say_what_they_are(page):
    text = page.read_text()
    found = blocks(text)
    assert text.count("\n```") + text.startswith("```") == 2 * len(found), "a fence is not closed"
    without = FENCE.sub("", text)
    for line in re.findall(r"^(?: {4}|\t)(?! *[-*\d|>])(.*)$", without, re.M):
        assert not re.match(r"\$? ?(synflip|make|pytest|pip|python|git|SYNFLIP_DATA=\S+) [\w-]", line), (
            f"a command in an indented block, which no test sees: {line!r}; put it between ```sh and ```"
        )
    marked = [block for block in found if block.mark]
    assert marks(text) == len(marked), "a mark is not of the form <!-- not run: WHY -->, right above a block"
    for block in found:
        assert block.language, f"the block at line {block.line} has no language; `text` if it is none"
        assert block.language != "pycon", "write Python as a program: its output would go stale"


# What is named


@cache
def options():
    """Words of each command -> its options."""
    return {
        tuple(words.split()): {
            *(option for item in command.params for option in (*item.opts, *item.secondary_opts)),
            "--help",
        }
        for words, command in commands()
    }


def check_synflip(line):
    """Raise AssertionError if ``line``, which begins with synflip, has a command or an option that is not."""
    words = shlex.split(line, comments=True)
    for stop in ("|", "&&", ";", ">"):
        if stop in words:
            words = words[: words.index(stop)]
    if len(words) == 1 or words[1] in ("--help", "--version"):
        return
    known = options()
    groups = {command[:size] for command in known for size in range(1, len(command))}
    size = next((size for size in (3, 2) if tuple(words[:size]) in known), None)
    if size is None:
        assert tuple(words[:2]) in groups and len(words) == 2, f"no such command: {line!r}"
        return
    for word in words[size:]:
        option = word.split("=")[0]
        if option.startswith("--"):
            assert option in known[tuple(words[:size])], f"{' '.join(words[:size])} has no {option}: {line!r}"


def synflip_lines(page):
    text = page.read_text()
    for line in (*command_lines(text), *inline(text)):
        line = re.sub(r"^(\w+=\S+ |\.venv/bin/)+", "", line)
        if re.match(r"synflip( |$)", line):
            yield line


@every_page
def test_synflip_commands_exist(page):
    for line in synflip_lines(page):
        check_synflip(line)


def test_commands_of_the_command_line_exist():
    from synflip.cli.reference import markdown

    lines = command_lines(markdown())
    assert len(lines) > 20
    for line in lines:
        check_synflip(re.sub(r"^(\w+=\S+ )+", "", line))


@pytest.mark.parametrize(
    "line",
    [
        "synflip fly",
        "synflip run m.safetensors --wings 2",
        "synflip report cake",
        "synflip report paper --fly",
    ],
)
def test_unknown_commands_are_found(line):
    with pytest.raises(AssertionError, match=r"no such command|has no"):
        check_synflip(line)


@every_page
def test_what_commands_write_in_a_clone_is_ignored_or_tracked(page):
    """Nothing untracked is left by the commands of a page, if they are run where they stand."""
    if not (ROOT / ".git").exists():
        pytest.skip("no clone")

    def git(*words):
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).returncode == 0

    for line in command_lines(page.read_text()):
        for named in re.findall(r"--(?:out|labels|json|page|picture|pictures|waves) ([\w./-]+)", line):
            if named in ("DIR", "FILE"):
                continue
            for path in (named, *beside(named)):
                known = git("ls-files", "--error-unmatch", path)
                assert known or git("check-ignore", "-q", path), f"{line!r} leaves {path} untracked"


def beside(path):
    """What commands write beside a file, by its ending."""
    stem, dot, ending = path.rpartition(".")
    others = {"v": "vlt core", "fst": "gtkw sucl", "safetensors": "features.pt2 checkpoint.safetensors"}
    return [f"{stem}.{other}" for other in others.get(ending if dot else "", "").split()]


@every_page
def test_options_exist(page):
    known = set().union(*options().values()) | FOREIGN
    for code in inline(page.read_text()):
        if code.startswith("--") and (option := re.match(r"--[\w-]+", code)):
            assert option[0] in known, f"no command has {code!r}"


@cache
def targets():
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))


@every_page
def test_make_targets_exist(page):
    text = page.read_text()
    for line in (*command_lines(text), *inline(text)):
        if match := re.match(r"make ([a-z]+)\b", line):
            assert match[1] in targets(), f"no such target: {line!r}"


@every_page
def test_pytest_paths_exist(page):
    text = page.read_text()
    for line in (*command_lines(text), *inline(text)):
        if re.match(r"pytest( |$)", line):
            words = shlex.split(line, comments=True)
            for word in words[1:]:
                if word.startswith("tests"):
                    assert (ROOT / word.split("::")[0]).exists(), f"no such test: {line!r}"
        if re.fullmatch(r"test_\w+", line):
            assert f"def {line}(" in all_tests(), f"no test is called {line}"


@cache
def all_tests():
    return "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))


@cache
def file_names():
    return [
        path.relative_to(ROOT).as_posix()
        for folder in FOLDERS
        if (ROOT / folder).exists()
        for path in (ROOT / folder).rglob("*")
        if "__pycache__" not in path.parts
    ]


@every_page
def test_files_exist(page):
    if page.name == "CHANGELOG.md":
        pytest.skip("it names what was")
    for code in inline(page.read_text()):
        if re.fullmatch(rf"({'|'.join(map(re.escape, FOLDERS))})/[\w./*-]*", code):
            found = list(ROOT.glob(code.rstrip("/"))) if "*" in code else [(ROOT / code)]
            assert found and all(path.exists() for path in found), f"there is no {code}"
        elif re.fullmatch(r"[\w/]+\.(py|sv|cpp|h)", code) and code != "synflip.h":
            assert any(path == code or path.endswith(f"/{code}") for path in file_names()), (
                f"there is no {code}"
            )


@every_page
def test_modules_exist(page):
    if page.name == "CHANGELOG.md":
        pytest.skip("it names what was")
    for code in inline(page.read_text()):
        match = re.match(r"synflip(?:_hdl|_sim)?(?:\.\w+)+", code)
        if not match or match[0] in ("synflip.h", "synflip.rdl", "synflip.v", "synflip.xdc", "synflip.tcl"):
            continue
        if match[0] in ("synflip.devices", "synflip.boards"):  # groups of entry points
            continue
        assert resolves(match[0]), f"there is no {match[0]}"


def resolves(dotted):
    """Whether a module, or what is in it, has this name."""
    parts = dotted.split(".")
    for size in range(len(parts), 0, -1):
        try:
            thing = importlib.import_module(".".join(parts[:size]))
        except ModuleNotFoundError:
            continue
        for part in parts[size:]:
            if not hasattr(thing, part):
                return False
            thing = getattr(thing, part)
        return True
    return False


@every_page
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text())):
        if re.match(r"https?:|#", target):
            continue
        path = page.parent / target.split("#")[0]
        assert path.exists(), f"a link leads nowhere: {target}"
