"""Newer cores load layers lazily on NVIDIA (DynamicVRAM); here it is forced on the CPU. Skipped without such a core."""

import pytest
from comfy_common import find_workspace, running, workflow

# A pack of its own that says what main.py says on a machine with such memory. Core's own models need its GPU library
# then, so they load as before; every layer of ours is lazy.
FORCE = """
import comfy.memory_management
import comfy.sd

load = comfy.sd.load_diffusion_model

def load_diffusion_model(*args, **kwargs):
    comfy.memory_management.aimdo_enabled = False
    try:
        return load(*args, **kwargs)
    finally:
        comfy.memory_management.aimdo_enabled = True

comfy.memory_management.aimdo_enabled = True
comfy.sd.load_diffusion_model = load_diffusion_model
NODE_CLASS_MAPPINGS = {}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    workspace = find_workspace()
    module = workspace / "comfy" / "memory_management.py" if workspace else None
    if module is not None and not (module.is_file() and "aimdo_enabled" in module.read_text()):
        pytest.skip("this ComfyUI has no DynamicVRAM")
    base = tmp_path_factory.mktemp("comfy")
    (base / "custom_nodes" / "force_dynamic_vram").mkdir(parents=True)
    (base / "custom_nodes" / "force_dynamic_vram" / "__init__.py").write_text(FORCE)
    with running(base) as found:
        yield found


@pytest.mark.parametrize("name", ["dub_audio_driven", "score_video", "score_tokens", "transcribe", "classify"])
def test_every_kind_of_model_loads_and_runs(server, name):
    outputs = server.run(workflow(name))
    if name == "dub_audio_driven":
        assert server.saved(outputs, "6").stat().st_size > 10_000


def test_weights_in_half_precision_load_too(server):
    assert server.run(workflow("score_tokens", n2__dtype="float16"))["6"]["text"]
