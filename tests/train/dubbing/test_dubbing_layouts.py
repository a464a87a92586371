"""Wan VACE weights in ComfyUI's layout and in diffusers': the same model from either."""

import pytest
import torch
from safetensors.torch import save_file

from synclip_core.errors import SyncLipError

pytest.importorskip("diffusers")

from train.dubbing.config import DubbingConfig, TransformerConfig  # noqa: E402
from train.dubbing.wan.layouts import to_comfy  # noqa: E402
from train.dubbing.wan.transformers import open_transformer  # noqa: E402

TINY = TransformerConfig(heads=1, layers=4, vace_layers=2, ffn=96, text_dim=24)


def told(model):
    made = torch.Generator().manual_seed(2)
    given = {
        "hidden_states": torch.randn(1, 16, 3, 4, 4, generator=made),
        "control_hidden_states": torch.randn(1, 96, 3, 4, 4, generator=made),
        "encoder_hidden_states": torch.randn(1, 2, 24, generator=made),
    }
    with torch.inference_mode():
        return model(**given, timestep=torch.tensor([300])).sample


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_the_same_model_from_comfyuis_file_and_from_diffusers_folder(tmp_path, prefix):
    torch.manual_seed(0)
    model = open_transformer(DubbingConfig(transformer=TINY)).eval()
    names = to_comfy(model.state_dict())
    save_file({prefix + k: v.contiguous() for k, v in names.items()}, tmp_path / "comfy.safetensors")
    model.save_pretrained(tmp_path / "folder")
    for path in (tmp_path / "comfy.safetensors", tmp_path / "folder"):
        again = open_transformer(DubbingConfig(transformer_path=str(path))).eval()
        assert again.inner_dim == 128 and torch.equal(told(again), told(model))
    # names that Wan2.1-VACE's own file has
    assert {
        "patch_embedding.weight",
        "vace_patch_embedding.bias",
        "head.modulation",
        "head.head.weight",
        "time_projection.1.bias",
        "blocks.3.modulation",
        "blocks.0.cross_attn.norm_k.weight",
        "blocks.1.norm3.weight",
        "vace_blocks.0.before_proj.weight",
        "vace_blocks.1.after_proj.bias",
        "vace_blocks.1.ffn.2.weight",
    } <= set(names)


def test_other_files_are_refused(tmp_path):
    save_file({"patch_embedding.weight": torch.zeros(128, 16, 1, 2, 2)}, tmp_path / "odd.safetensors")
    with pytest.raises(SyncLipError, match="not the weights of a Wan VACE model"):
        open_transformer(DubbingConfig(transformer_path=str(tmp_path / "odd.safetensors")))
    with pytest.raises(SyncLipError, match="no such file"):
        open_transformer(DubbingConfig(transformer_path=str(tmp_path / "none.safetensors")))
    (tmp_path / "empty").mkdir()
    with pytest.raises(SyncLipError, match="no Wan VACE transformer"):
        open_transformer(DubbingConfig(transformer_path=str(tmp_path / "empty")))


def test_a_wan_vae_of_diffusers_is_a_codec(tmp_path):
    from diffusers import AutoencoderKLWan

    from train.dubbing.wan.codecs import open_codec

    torch.manual_seed(0)
    vae = AutoencoderKLWan(base_dim=8, z_dim=16, num_res_blocks=1).eval()
    vae.save_pretrained(tmp_path / "vae")
    codec, frames = open_codec(tmp_path / "vae"), torch.rand(1, 5, 32, 48, 3)
    latents = codec.encode(frames)
    assert latents.shape == (1, 16, 2, 4, 6) and codec.decode(latents).shape == frames.shape
    with torch.inference_mode():
        raw = vae.encode(frames.movedim(-1, 1) * 2 - 1).latent_dist.mode()
        mean, std = (
            torch.tensor(values).view(1, -1, 1, 1, 1) for values in (vae.config.latents_mean, vae.config.latents_std)
        )
        torch.testing.assert_close(latents * std + mean, raw, atol=1e-5, rtol=1e-4)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SyncLipError, match="no Wan VAE"):
        open_codec(tmp_path / "empty")
