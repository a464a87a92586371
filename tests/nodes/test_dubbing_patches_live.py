"""What a fine-tuning hands on is, to the real ComfyUI, a LoRA of Wan VACE. Skipped without ComfyUI."""

import subprocess
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

pytest.importorskip("diffusers")
pytest.importorskip("peft")
from comfy_common import HOW, find_python, find_workspace  # noqa: E402
from dubbing_runs import CONFIG  # noqa: E402

from train.dubbing.wan.layouts import to_comfy  # noqa: E402
from train.dubbing.wan.patches import add_lora, apply_patch, differences, low_rank, patchable  # noqa: E402
from train.dubbing.wan.transformers import open_transformer  # noqa: E402

LOAD = """
import sys
model, patch, out = sys.argv[1:]
sys.argv = ["comfy", "--cpu"]
import comfy.options
comfy.options.enable_args_parsing()
import comfy.sd, comfy.utils
from safetensors.torch import save_file
loaded = comfy.sd.load_diffusion_model(model)
patched, _ = comfy.sd.load_lora_for_models(loaded, None, comfy.utils.load_torch_file(patch), 1.0, 0.0)
patched.patch_model()
state = patched.model.diffusion_model.state_dict()
save_file({name: value.float().contiguous() for name, value in state.items()}, out)
"""


@pytest.mark.parametrize("kind", ["differences", "lora"])
def test_comfyui_adds_it_to_the_published_weights(tmp_path, kind):
    workspace = find_workspace()
    if workspace is None:
        pytest.skip(HOW)
    # ComfyUI knows Wan by text rows of 4096
    config = replace(CONFIG, transformer=replace(CONFIG.transformer, text_dim=4096))
    torch.manual_seed(2)
    model = open_transformer(config)
    original = {name: value.clone() for name, value in model.state_dict().items()}
    published, patch = tmp_path / "wan.safetensors", tmp_path / "patch.safetensors"
    save_file({name: value.contiguous() for name, value in to_comfy(original).items()}, published)
    if kind == "lora":
        add_lora(model, 4)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if ".lora_" in name or (kind == "differences" and patchable(name)):
                value += 0.1 * torch.randn_like(value)
    state = model.state_dict()
    save_file(low_rank(state) if kind == "lora" else differences(original, state), patch)
    command = [find_python(workspace), "-c", LOAD, str(published), str(patch), str(tmp_path / "out.safetensors")]
    done = subprocess.run(command, cwd=workspace, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and "not loaded" not in done.stderr, done.stderr[-3000:]
    ours = open_transformer(replace(config, transformer_path=str(published)))
    apply_patch(ours, patch)
    theirs = load_file(tmp_path / "out.safetensors")
    expected = to_comfy(ours.state_dict())
    assert expected.keys() <= theirs.keys()
    changed = [name for name, value in expected.items() if not torch.equal(value, to_comfy(original)[name])]
    assert len(changed) > 10
    for name, value in expected.items():
        torch.testing.assert_close(theirs[name], value, atol=1e-3, rtol=1e-2, msg=name)
