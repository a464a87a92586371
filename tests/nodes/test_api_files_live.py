"""The graphs of workflows/api, posted as they are shipped to a server whose folders are empty."""

import json

import pytest
from comfy_common import ROOT, running

NAMES = sorted(path.stem for path in (ROOT / "workflows" / "api").glob("*.json"))
THEIRS = {"UNETLoader", "VAELoader", "CLIPLoader", "SyncLipLoadAudioPack"}  # files of gigabytes are the user's


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(tmp_path_factory.mktemp("comfy")) as found:
        yield found


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_as_shipped(server, name):
    """The dubs take minutes: they are accepted, and stopped."""
    graph = json.loads((ROOT / "workflows" / "api" / f"{name}.json").read_text())
    if name == "dub_long":
        with pytest.raises(RuntimeError) as refused:
            server.queue(graph)
        errors = json.loads(str(refused.value))["node_errors"]
        assert {errors[node]["class_type"] for node in errors} <= THEIRS, errors
    elif name.startswith("dub_"):
        answer = server.json("/prompt", {"prompt": graph})
        assert answer["prompt_id"] and not answer["node_errors"]
        server.json("/queue", {"clear": True})
        server.json("/interrupt", {})
    else:
        assert server.run(graph)
