"""What is installed, and that importing it does nothing but import."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

WATCHED = """
import sys, socket, os
def refuse(*a, **k): raise AssertionError("import touched the network")
socket.socket.connect = refuse; socket.getaddrinfo = refuse; socket.create_connection = refuse
made = []
def watch(event, args):
    if event in ("os.mkdir", "os.remove", "os.rename", "subprocess.Popen", "socket.connect", "socket.getaddrinfo"):
        made.append((event, args))
    if event == "open" and isinstance(args[1], str) and any(c in args[1] for c in "wax+"):
        made.append((event, args))
sys.addaudithook(watch)
"""


def run(program: str, cwd: Path) -> str:
    command = [sys.executable, "-B", "-c", WATCHED + program]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_is_cheap_and_silent(tmp_path):
    program = f"sys.path.insert(0, {str(ROOT)!r})\n" + (
        "import synclip_core\n"
        "heavy = [m for m in ('torch', 'av', 'numpy', 'scipy', 'PIL', 'transformers') if m in sys.modules]\n"
        "assert not heavy, heavy\n"
        "import synclip_core.cli\n"
        "heavy = [m for m in ('torch', 'av', 'transformers') if m in sys.modules]\n"
        "assert not heavy, heavy\n"
        "assert not made, made\n"
    )
    assert run(program, tmp_path) == ""
    assert list(tmp_path.iterdir()) == []


def test_no_module_touches_a_device_or_the_disk(tmp_path):
    """Every module of the library is imported with the network shut and the disk watched."""
    program = f"sys.path.insert(0, {str(ROOT)!r})\n" + (
        "import importlib, pkgutil, torch, numpy, scipy, av, PIL.Image, safetensors.torch, tqdm, scipy.ndimage\n"
        "made.clear()\n"
        "import synclip_core\n"
        "names = [m.name for m in pkgutil.walk_packages(synclip_core.__path__, 'synclip_core.')]\n"
        "for name in names: importlib.import_module(name)\n"
        "assert not made, made\n"
        "assert not torch.cuda.is_initialized()\n"
        "assert 'transformers' not in sys.modules\n"
        "print(len(names))\n"
    )
    assert int(run(program, tmp_path)) > 20


def test_no_module_imports_what_it_must_not():
    """synclip_core knows neither ComfyUI nor the programs, and keeps its imports relative."""
    import ast

    banned = {"comfy", "comfy_api", "folder_paths", "nodes", "train", "synclip_core", "cv2", "torchvision"}
    banned |= {"torchaudio", "matplotlib", "mediapipe", "tensorflow", "onnxruntime", "pickle", "requests", "urllib"}
    for path in (ROOT / "synclip_core").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            wrong = {name.split(".")[0] for name in names} & banned
            assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    """Built from a copy of the checkout, without the network and without leaving anything in the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "__init__.py"):
        shutil.copy(ROOT / name, source / name)
    for name in ("synclip_core", "train", "nodes", "tests"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    (source / "nodes").mkdir(exist_ok=True)
    (source / "nodes" / "__init__.py").touch()
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    command += ["-w", str(folder), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return zipfile.ZipFile(next(folder.glob("synclip-*.whl")))


def test_wheel_holds_the_library_its_weights_and_the_clip(wheel):
    names = set(wheel.namelist())
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"synclip_core"}
    assert {"synclip_core/demo/speech.mp4", "synclip_core/demo/speech.json", "synclip_core/py.typed"} <= names
    weights = {p.relative_to(ROOT).as_posix() for p in (ROOT / "synclip_core" / "weights").rglob("*.safetensors")}
    assert weights and weights <= names
    modules = {str(p.relative_to(ROOT)).replace("\\", "/") for p in (ROOT / "synclip_core").rglob("*.py")}
    assert modules <= names


def test_wheel_metadata(wheel):
    name = next(n for n in wheel.namelist() if n.endswith("/METADATA"))
    metadata = wheel.read(name).decode()
    assert "\nName: synclip\n" in metadata and "License-Expression: Apache-2.0" in metadata
    entry = wheel.read(name.replace("METADATA", "entry_points.txt")).decode()
    assert "synclip = synclip_core.cli:main" in entry


def test_constraints_pin_every_dependency():
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    wanted = project["dependencies"] + project["optional-dependencies"]["test"]
    names = {re.split(r"[<>=!~ ;\[]", line)[0].lower().replace("_", "-") for line in wanted}
    assert names <= pinned
    assert "comfyui" not in project["name"].lower()
