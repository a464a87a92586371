"""The rules of docs/architecture.md that a machine keeps: who may import what, and how large a room may grow."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HOUSES = ("synclip_core", "nodes", "train", "tests", "benchmarks", "tools")
MOST = 12  # modules of a folder, beside __init__.py and __main__.py
SUBJECTS = ("sync", "reading", "attributes", "dubbing", "faces", "tokens")


def folders():
    found = {path.parent for house in HOUSES for path in (ROOT / house).rglob("*.py")}
    return sorted(folder.relative_to(ROOT).as_posix() for folder in found)


@pytest.mark.parametrize("folder", folders())
def test_no_folder_holds_too_many_modules(folder):
    modules = [path.name for path in (ROOT / folder).glob("*.py") if not path.name.startswith("__")]
    assert len(modules) <= MOST, f"{folder} has {len(modules)} modules: {sorted(modules)}"


def test_the_contracts_of_import_linter_are_kept():
    pytest.importorskip("importlinter")
    lint = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run([sys.executable, "-c", lint], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def imported(path):
    """Dotted names from the root of the checkout that a file of nodes/ imports."""
    package = path.relative_to(ROOT).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])])
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_nodes_know_no_programs_and_their_subjects_share_only_shared():
    for path in sorted((ROOT / "nodes").rglob("*.py")):
        place = path.relative_to(ROOT / "nodes").parts[0]
        for name in imported(path):
            top, _, rest = name.partition(".")
            assert top not in ("train", "tools", "tests"), f"{path}: {name}"
            if top == "nodes" and place in SUBJECTS:
                assert rest.split(".")[0] in (place, "shared"), f"{path}: {name}"
            if top == "nodes" and place == "shared":
                assert rest.split(".")[0] == "shared", f"{path}: {name}"


def test_the_three_houses_use_the_same_words():
    """A room that is named like a subject in one house is the same subject in the others."""
    assert {f for f in SUBJECTS if (ROOT / "synclip_core" / f).is_dir()} == set(SUBJECTS)
    assert {f for f in SUBJECTS if (ROOT / "nodes" / f).is_dir()} == set(SUBJECTS)


def test_public_names_are_there_and_importing_them_is_lazy():
    code = (
        "import sys, synclip_core as s\n"
        "assert not {'torch', 'numpy', 'av'} & set(sys.modules)\n"
        "from synclip_core import SyncLipError, SyncPipeline, classify, load_checkpoint, write_aligned\n"
        "from synclip_core.pipeline import SyncPipeline as p, TokenStreams\n"  # paths of the README up to 0.1
        "from synclip_core.media.align import write_aligned as w\n"
        "from synclip_core.attributes.report import classify as c\n"
        "from synclip_core.errors import SyncLipError as e\n"
        "assert (p, w, c, e) == (SyncPipeline, write_aligned, classify, SyncLipError)\n"
        "assert s.TokenStreams is TokenStreams\n"
        "assert all(getattr(s, name) for name in s.__all__)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


DOCUMENTS = ["README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents_name_what_is_there(name):
    """Links inside the repository, files of the three houses, and programs."""
    path = ROOT / name
    text = path.read_text("utf-8")
    for link in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text):
        assert "://" in link or (path.parent / link).exists(), link
    for file in re.findall(r"`((?:synclip_core|nodes|train|tests|tools|benchmarks|docs)/[\w/.]+)`", text):
        assert "SUBJECT" in file or "NAME" in file or (ROOT / file).exists(), file
    for program in re.findall(r"python -m (\w+(?:\.\w+)+)", text):
        where = ROOT / program.replace(".", "/")
        if program != "train.NAME":
            assert where.with_suffix(".py").is_file() or (where / "__main__.py").is_file(), program
