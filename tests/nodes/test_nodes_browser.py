"""The pack in ComfyUI's page: every template opens, runs, and shows its result. Skipped without ComfyUI or a browser.

SYNCLIP_SCREENSHOTS=FOLDER keeps a screenshot of each.
"""

import json
import os
import shutil
import time
from pathlib import Path

import pytest
from comfy_common import PACK, ROOT, running

from synclip_core.pipeline import SyncPipeline

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
NAMES = sorted(path.stem for path in (ROOT / "workflows").glob("*.json"))

# nodes that show a picture of 640 px
PANELS = [
    f"SyncLip{name}"
    for name in (
        "SyncScore",
        "SyncScoreTokens",
        "FindSpeaker",
        "SyncGate",
        "FixSync",
        "TranscribeLips",
        "ClassifyAttributes",
    )
]

# what ends a run, seen through the page's own events
LISTEN = """() => {
    window.ended = null
    for (const name of ['execution_success', 'execution_error', 'execution_interrupted'])
        window.app.api.addEventListener(name, event => { window.ended = [name, event.detail] })
}"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    base = tmp_path_factory.mktemp("comfy")
    with running(base) as found:
        yield found


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")
    if CHROMIUM is None:
        pytest.skip("no Chromium: install Debian's package chromium, or Google Chrome")
    with playwright.sync_playwright() as play:
        found = play.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield found
        found.close()


@pytest.fixture
def page(server, browser):
    page = browser.new_page(viewport={"width": 1600, "height": 900})
    page.goto(server.url)
    page.wait_for_function("() => !!(window.app && window.app.graph && window.app.extensionManager)", timeout=90_000)
    page.wait_for_function("() => !!window.LiteGraph.registered_node_types['SyncLipSyncScore']", timeout=90_000)
    page.evaluate("() => window.app.extensionManager.setting.set('Comfy.TutorialCompleted', true)")
    page.keyboard.press("Escape")  # the templates that greet a first visit
    yield page
    page.close()


@pytest.mark.parametrize("name", NAMES)
def test_template_opens_runs_and_shows_its_result(server, page, name):
    if name == "dub_long":
        pytest.skip("its models are gigabytes; test_nodes_live checks its nodes and links")
    graph = server.json(f"/api/workflow_templates/{PACK}/{name}.json")
    page.evaluate("graph => window.app.loadGraphData(graph)", graph)
    page.wait_for_function("count => window.app.graph._nodes.length === count", arg=len(graph["nodes"]))
    unknown = page.evaluate("() => window.app.graph._nodes.filter(n => n.has_errors).map(n => n.type)")
    assert unknown == []
    assert "Invalid workflow" not in page.evaluate("() => document.body.innerText")
    page.evaluate(LISTEN)
    page.evaluate("() => window.app.queuePrompt(0, 1)")
    page.wait_for_function("() => !!window.ended", timeout=300_000)
    how, detail = page.evaluate("() => window.ended")
    assert how == "execution_success", detail
    page.wait_for_function(
        "panels => window.app.graph._nodes.filter(n => panels.includes(n.type)).every(n => n.imgs?.length)",
        arg=PANELS,
        timeout=20_000,
    )
    for node in page.evaluate("() => window.app.graph._nodes.map(n => [n.type, n.imgs?.[0]?.naturalWidth ?? 0])"):
        if node[0] in PANELS:
            assert node[1] == 640, "the panel is not what the node shows"
    assert "Alert" not in page.evaluate("() => document.body.innerText")
    folder = os.environ.get("SYNCLIP_SCREENSHOTS")
    if folder:
        time.sleep(2)
        page.screenshot(path=str(Path(folder) / f"{name}.png"))


def test_the_blueprint_repairs_a_clip(server, page):
    """The subgraph, as the node library inserts it, between a clip 200 ms off and Save Video."""
    (blueprint,) = (ROOT / "subgraphs").glob("*.json")
    page.evaluate("graph => window.app.loadGraphData(graph)", json.loads(blueprint.read_text()))
    title, inputs, outputs, values = page.evaluate("""() => {
        const graph = window.app.graph, node = graph._nodes[0]
        const clip = window.LiteGraph.createNode('SyncLipDemoVideo'), save = window.LiteGraph.createNode('SaveVideo')
        graph.add(clip)
        graph.add(save)
        clip.widgets[0].value = 5
        clip.connect(0, node, 0)
        node.connect(0, save, 0)
        const names = slots => slots.map(slot => slot.name)
        return [node.title, names(node.inputs), names(node.outputs), node.widgets.map(widget => widget.value)]
    }""")
    assert title == blueprint.stem and inputs == ["video", "face", "if_unclear"]
    assert outputs == ["video", "words", "report"] and values == ["auto", "pass the video on"]
    before = set((server.base / "output").rglob("*.mp4"))
    page.evaluate(LISTEN)
    page.evaluate("() => window.app.queuePrompt(0, 1)")
    page.wait_for_function("() => !!window.ended", timeout=300_000)
    how, detail = page.evaluate("() => window.ended")
    assert how == "execution_success", detail
    (saved,) = set((server.base / "output").rglob("*.mp4")) - before
    assert SyncPipeline().score(saved).verdict == "in_sync"


def test_bad_input_marks_the_node_and_says_why(server, page):
    graph = json.loads((ROOT / "workflows" / "score_video.json").read_text())
    score = next(node for node in graph["nodes"] if node["type"] == "SyncLipSyncScore")
    score["widgets_values"][0] = "the left one"
    page.evaluate("graph => window.app.loadGraphData(graph)", graph)
    page.evaluate("() => window.app.queuePrompt(0, 1)")
    page.wait_for_function("() => document.body.innerText.includes('expected auto, largest, longest')", timeout=20_000)
    marked = page.evaluate("() => Object.keys(window.app.lastNodeErrors || {})")
    assert marked == [str(score["id"])]


VUE = "Comfy.VueNodes.Enabled"  # Nodes 2.0


def prepared(server, page, theme, vue):
    """The page with that theme and that renderer of nodes; skips where the page has no other than the old."""
    known = page.evaluate("name => window.app.ui.settings.settingsLookup?.[name] !== undefined", VUE)
    known = known or page.evaluate("name => window.app.extensionManager.setting.get(name) !== undefined", VUE)
    if vue and not known:
        pytest.skip("this page has no Nodes 2.0")
    page.evaluate("theme => window.app.extensionManager.setting.set('Comfy.ColorPalette', theme)", theme)
    if known:
        page.evaluate("([name, vue]) => window.app.extensionManager.setting.set(name, vue)", [VUE, vue])


@pytest.mark.parametrize(
    "name, theme, vue",
    [("fix_sync", "dark", True), ("find_speaker", "light", True), ("score_video", "light", False)],
)
def test_pictures_are_pictures_in_both_renderers_and_themes(server, page, name, theme, vue):
    prepared(server, page, theme, vue)
    try:
        graph = json.loads((ROOT / "workflows" / f"{name}.json").read_text())
        page.evaluate("graph => window.app.loadGraphData(graph)", graph)
        page.wait_for_function("count => window.app.graph._nodes.length === count", arg=len(graph["nodes"]))
        page.evaluate(LISTEN)
        page.evaluate("() => window.app.queuePrompt(0, 1)")
        page.wait_for_function("() => !!window.ended", timeout=600_000)
        how, detail = page.evaluate("() => window.ended")
        assert how == "execution_success", detail
        page.evaluate("() => window.app.canvas.ds.reset()")
        shows = [node["id"] for node in graph["nodes"] if node["type"] in PANELS]
        if vue:
            page.wait_for_function(
                """nodes => nodes.every(id => [...document.querySelectorAll(`[data-node-id="${id}"] img`)]
                    .some(image => image.naturalWidth === 640))""",
                arg=shows,
                timeout=60_000,
            )
            videos = "nodes => nodes.filter(id => document.querySelector(`[data-node-id='${id}'] video`))"
            assert page.evaluate(videos, shows) == []
        folder = os.environ.get("SYNCLIP_SCREENSHOTS")
        if folder:
            time.sleep(3)
            page.screenshot(path=str(Path(folder) / f"{name}-{theme}-{'nodes2' if vue else 'nodes1'}.png"))
        text = page.evaluate("() => document.body.innerText")
        assert "Video failed to load" not in text and "Invalid URL" not in text
    finally:
        prepared(server, page, "dark", False)


def test_every_node_of_ours_says_that_it_shows_pictures(server, page):
    """Nodes 2.0 otherwise takes what is shown beside a VIDEO socket for a video."""
    kinds = page.evaluate("""() => Object.keys(window.LiteGraph.registered_node_types)
        .filter(name => name.startsWith('SyncLip'))
        .map(name => { const node = window.LiteGraph.createNode(name); window.app.graph.add(node)
                       return [name, node.previewMediaType] })""")
    assert len(kinds) > 15 and {media for _, media in kinds} == {"image"}, kinds
