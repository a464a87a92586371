"""What the nodes do before and after the library, as far as it needs no ComfyUI; and what the pack's files promise."""

import importlib
import importlib.util
import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from comfy_common import ROOT
from PIL import Image

from synclip_core.sync.report import ScoreReport


@pytest.fixture(scope="module")
def pack():
    """The pack under a mangled name and off sys.path, as ComfyUI loads it."""
    name = "/somewhere/custom_nodes/comfyui-synclip"
    spec = importlib.util.spec_from_file_location(name, ROOT / "__init__.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    yield lambda part: importlib.import_module(f"{name}.nodes.{part}")
    for loaded in [key for key in sys.modules if key.startswith(name)]:
        del sys.modules[loaded]


def error_of(pack):
    return sys.modules[pack("faces.boxes").SyncLipError.__module__].SyncLipError


def test_importing_the_pack_does_nothing():
    """No torch, no folder, no thread: ComfyUI asks for the nodes later."""
    code = (
        "import importlib.util as u, sys; before = set(sys.modules)\n"
        f"s = u.spec_from_file_location('pack', {str(ROOT / '__init__.py')!r}); m = u.module_from_spec(s)\n"
        "sys.modules['pack'] = m; s.loader.exec_module(m)\n"
        "print([n for n in set(sys.modules) - before if n.split('.')[0] in ('torch', 'numpy', 'av', 'PIL', 'scipy')])\n"
        "print(m.WEB_DIRECTORY, callable(m.comfy_entrypoint), [n for n in sys.modules if n.startswith('pack.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent)
    assert done.stdout.splitlines() == ["[]", "./web True []"] and not done.stderr


@pytest.mark.parametrize(
    "boxes",
    [
        [10, 20, 30, 60],
        (10.0, 20.0, 30.0, 60.0, 0.98),
        [[10, 20, 30, 60], [50, 50, 60, 60]],
        [[], [[10, 20, 30, 60]]],
        torch.tensor([[[10, 20, 30, 60]]]),
        {"bbox": [np.array([10, 20, 30, 60])]},
    ],
)
def test_boxes_of_other_packs_give_their_centre(pack, boxes):
    assert pack("faces.boxes").point_of_boxes(boxes) == (20, 40)


@pytest.mark.parametrize("boxes", [[], [[]], None, [1, 2, 3], {"score": 1}, "10,20,30,60"])
def test_what_is_no_box_is_refused(pack, boxes):
    with pytest.raises(error_of(pack), match="expected boxes of x0, y0, x1, y1"):
        pack("faces.boxes").point_of_boxes(boxes)


def test_mask_gives_the_centre_of_its_first_painted_frame(pack):
    mask = torch.zeros(3, 50, 80)
    mask[1, 10:20, 30:50] = 1
    mask[2] = 1
    assert pack("faces.boxes").point_of_mask(mask) == (40, 15)
    with pytest.raises(error_of(pack), match="black everywhere"):
        pack("faces.boxes").point_of_mask(torch.zeros(2, 8, 8))


def tokens(pack, kind, length, model="a"):
    values = pack("shared.values")
    return values.Tokens(kind, np.ones((length, 4), np.float32), np.ones(length, bool), model)


def test_streams_pair_when_they_differ_by_a_codec_frame_only(pack):
    paired = pack("shared.values").paired
    audio, vocal = paired(tokens(pack, "audio", 103), tokens(pack, "vocal", 100))
    assert len(audio.values) == len(vocal.values) == len(audio.mask) == 100
    with pytest.raises(error_of(pack), match=r"audio_tokens last 4.24 s \(106 tokens\), vocal_tokens 4.00 s"):
        paired(tokens(pack, "audio", 106), tokens(pack, "vocal", 100))
    with pytest.raises(error_of(pack), match="input audio_tokens got vocal tokens"):
        paired(tokens(pack, "vocal", 100), tokens(pack, "audio", 100))
    with pytest.raises(error_of(pack), match="two different checkpoints"):
        paired(tokens(pack, "audio", 100), tokens(pack, "vocal", 100, "b"))


def report(verdict, lag=None, words=""):
    curve = [0.6 - 0.3 * (k == (lag or 0) + 15) for k in range(31)]
    return ScoreReport("a.mp4", verdict, lag, score=0.1, confidence=0.2, duration_s=9.0, curve=curve, words=words)


def test_panel_says_verdict_in_colour_and_marks_the_lag(pack):
    panel = pack("shared.panel")
    for verdict, lag in (("in_sync", 0), ("audio_early", 5), ("audio_late", -7)):
        picture = np.asarray(panel.draw_panel(report(verdict, lag)))
        colour = np.array(panel.COLOURS[verdict])
        marked = (picture[panel.TOP : panel.BOTTOM, panel.LEFT :] == colour).all(-1)
        x = np.nonzero(marked)[1].mean() + panel.LEFT
        width = panel.RIGHT - panel.LEFT - 40
        assert abs(x - (panel.LEFT + 20 + (lag + 15) / 30 * width)) < 2
        assert (picture[:70, 20:] == colour).all(-1).any()


def test_panel_keeps_long_words_inside_and_takes_an_empty_curve(pack):
    words = "mouth and voice do not clearly match at any lag: cannot tell"
    panel = pack("shared.panel")
    picture = np.asarray(panel.draw_panel(report("cannot_tell", words=words)))
    assert (picture[:, panel.RIGHT + 2 :] == panel.PAPER).all()
    empty = ScoreReport("a.mp4", "cannot_tell", curve=[None] * 31)
    flat = np.asarray(panel.draw_panel(empty))[panel.TOP : panel.BOTTOM, panel.LEFT : panel.RIGHT]
    assert not (flat == panel.BLUE).all(-1).any()


# ---- files that ComfyUI serves -----------------------------------------------------------------------------------


def node_ids():
    return re.findall(r'node_id="(\w+)"', "".join(p.read_text() for p in sorted((ROOT / "nodes").rglob("*.py"))))


def test_every_node_has_a_help_page_that_names_its_sockets():
    for path in sorted((ROOT / "nodes").rglob("*.py")):
        source = path.read_text()
        found = re.search(r'node_id="(\w+)"', source)
        if not found:
            continue
        page = (ROOT / "web" / "docs" / f"{found[1]}.md").read_text()
        for name in re.findall(r'(?:\.Input\(\s*|share\()"(\w+)"', source):
            assert f"`{name}`" in page, f"{found[1]}.md does not explain {name}"
        picture = re.search(r"!\[.+\]\((pictures/\w+\.jpg)\)", page)
        assert picture, f"{found[1]}.md shows no picture"
        with Image.open(ROOT / "web" / "docs" / picture[1]) as shown:
            assert 200 < shown.width <= 480


def test_workflows_have_a_thumbnail_and_an_api_twin():
    names = sorted(p.stem for p in (ROOT / "workflows").glob("*.json"))
    assert names and names == sorted(p.stem for p in (ROOT / "workflows" / "api").glob("*.json"))
    for name in names:
        with Image.open(ROOT / "workflows" / f"{name}.jpg") as picture:
            assert 300 < picture.width <= 1200
        graph = json.loads((ROOT / "workflows" / f"{name}.json").read_text())
        api = json.loads((ROOT / "workflows" / "api" / f"{name}.json").read_text())
        shown = {node["type"] for node in graph["nodes"]}
        assert {node["class_type"] for node in api.values()} - {"LoadVideo", "LoadAudio"} <= shown
        ids = {node["id"] for node in graph["nodes"]}
        assert all(link[1] in ids and link[3] in ids for link in graph["links"])


def attribute_report(pack, holds, labels=("speaking", "mouth_open")):
    """holds: bool [T] of the first label; nothing of the others. None in it: no face."""
    attributes = sys.modules[pack("attributes.attributes_panel").AttributeReport.__module__]
    models = sys.modules[attributes.AttributeHead.__module__]
    groups = tuple(models.AttributeGroup(name, "multi", (name,), (0.5,), "frame") for name in labels)
    weight = np.zeros((len(labels), 2), np.float32)
    weight[:, 0] = [9, *[0] * (len(labels) - 1)]
    head = models.AttributeHead(groups, weight, np.array([0, *[-9] * (len(labels) - 1)], np.float32), "a")
    tokens = np.array([[1 if h else -1, 0] for h in holds], np.float32)
    valid = np.array([h is not None for h in holds])
    return attributes.classify(tokens, tokens, valid, head, model="a")


def test_attributes_panel_is_green_where_a_label_holds(pack):
    panel = pack("attributes.attributes_panel")
    report = attribute_report(pack, [False] * 50 + [True] * 50)
    picture = np.asarray(panel.draw_attributes(report))
    assert picture.shape == (panel.HEAD + 2 * panel.ROW + panel.FOOT, 640, 3)
    row = picture[panel.HEAD + panel.ROW - 12]  # low in the first row, where the fill reaches
    green = (row == panel.GREEN).all(-1)
    middle = (panel.LEFT + panel.RIGHT) // 2
    assert not green[panel.LEFT : middle - 4].any() and green[middle + 4 : panel.RIGHT - 2].all()
    assert not (picture[panel.HEAD + 2 * panel.ROW - 12] == panel.GREEN).all(-1)[panel.LEFT :].any()
    nobody = np.asarray(panel.draw_attributes(attribute_report(pack, [None] * 20)))
    assert tuple(nobody[40, 2]) == panel.GREY and not (nobody == panel.GREEN).all(-1).any()


def test_attributes_panel_of_many_labels_shows_the_likeliest(pack):
    panel = pack("attributes.attributes_panel")
    names = tuple(f"action_{k}" for k in range(35))
    report = attribute_report(pack, [True] * 30, names)
    report.labels[30].probability = 0.9
    rows = panel.shown_rows(report.labels)
    assert len(rows) == panel.SHOWN and {0, 30} <= set(rows) and rows == sorted(rows)
    assert panel.draw_attributes(report).height == panel.HEAD + panel.SHOWN * panel.ROW + panel.FOOT


def test_a_channel_that_is_the_other_inverted_does_not_silence_a_sound(pack):
    left = 0.5 * torch.sin(torch.arange(16000) / 5)
    heard = pack("shared.sound").audio_socket({"waveform": torch.stack([left, -left])[None], "sample_rate": 16000})
    assert np.allclose(heard, left, atol=1e-6)
    mean = pack("shared.sound").audio_socket({"waveform": torch.stack([left, 0 * left])[None], "sample_rate": 16000})
    assert np.allclose(mean, left / 2, atol=1e-6)


def test_the_registry_is_told_all_it_asks_for():
    tomllib = pytest.importorskip("tomllib")
    data = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    urls, comfy = data["project"]["urls"], data["tool"]["comfy"]
    assert urls["Repository"] and all(url.startswith("https://") for url in urls.values())
    assert data["project"]["license-files"] == ["LICENSE"] and (ROOT / "LICENSE").is_file()
    assert comfy["PublisherId"] and comfy["DisplayName"] and comfy["requires-comfyui"]
    for key, (width, height) in {"Icon": (400, 400), "Banner": (1260, 540)}.items():  # 1:1, 21:9
        home, _, file = comfy[key].partition("/main/")
        assert home == urls["Repository"].replace("github.com", "raw.githubusercontent.com")
        assert Image.open(ROOT / file).size == (width, height)


def test_what_is_published_is_small():
    """Under 60 MB; the registry takes what git has, less what .comfyignore names."""
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("no checkout")
    left_out = tuple((ROOT / ".comfyignore").read_text().split())
    files = [ROOT / name for name in done.stdout.splitlines() if not name.startswith(left_out)]
    assert sum(path.stat().st_size for path in files if path.is_file()) < 60e6
