"""The network: what masks hide stays hidden, what streams equals the whole, sizes are those of the paper."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from synclip_core.checkpoint import load_checkpoint, save_checkpoint
from synclip_core.errors import SyncLipError
from synclip_core.files.settings import from_dict
from synclip_core.models import masking
from synclip_core.models.config import AudioConfig, ContextConfig, SyncLipMAEConfig, VocalConfig, paper, tiny
from synclip_core.models.decoder import patchify, unpatchify
from synclip_core.models.synclipmae import SyncLipMAE
from synclip_core.models.visual_encoder import VisualEncoder
from synclip_core.tokens.audio_stream import AudioTokenStream, in_spans, with_context


@pytest.fixture(scope="module")
def model() -> SyncLipMAE:
    torch.manual_seed(0)
    return SyncLipMAE(tiny()).eval()


@pytest.fixture(scope="module")
def older() -> SyncLipMAE:
    """Of the kind before the temporal branch: mel, an adapter and a vocal head that look along the clip."""
    audio = AudioConfig(front_end="mel", width=80, depth=4, adapter_width=32, adapter_depth=4)
    vocal = VocalConfig(center=True, context_depth=4, context_width=32)
    torch.manual_seed(0)
    return SyncLipMAE(replace(tiny(), audio=audio, vocal=vocal, context=ContextConfig())).eval()


def hidden_pixels(keep: torch.Tensor, grid: tuple[int, int], patch: int) -> torch.Tensor:
    mask = torch.ones(grid[0] * grid[1])
    mask[keep] = 0
    return mask.view(1, 1, *grid).repeat_interleave(patch, 2).repeat_interleave(patch, 3)


@pytest.mark.parametrize("stem", ["conv", "linear"])
def test_hidden_patches_do_not_leak(stem: str) -> None:
    torch.manual_seed(1)
    base = tiny().visual
    config = type(base)(**{**base.__dict__, "stem": stem})
    encoder = VisualEncoder(config).eval()
    frames = torch.rand(1, 3, 112, 112)
    keep = masking.uniform_keep(torch.rand(1, encoder.patches), 0.75)
    hidden = hidden_pixels(keep[0], encoder.grid, 16)
    with torch.inference_mode():
        before = encoder(frames, keep)
        after = encoder(frames * (1 - hidden) + torch.rand_like(frames) * hidden, keep)
        changed = encoder((frames + 0.1 * (1 - hidden)).clamp(0, 1), keep)
    assert torch.equal(before[0], after[0]) and torch.equal(before[1], after[1])
    assert not torch.allclose(before[1], changed[1])


def test_the_old_map_keeps_the_mouth() -> None:
    importance = masking.mouth_importance(7, 7)[None]
    noise = torch.rand(4000, 49, generator=torch.Generator().manual_seed(0))
    keep = masking.face_preserving_keep(noise, importance, 0.6)
    share = torch.zeros(49).index_add(0, keep.flatten(), torch.ones(keep.numel())) / 4000
    mouth = [r * 7 + c for r in (4, 5) for c in (2, 3, 4)]
    assert share[mouth].min() > 0.99
    assert share[[0, 6, 42, 48]].max() < 0.2
    uniform = masking.uniform_keep(noise, 0.6)
    counts = torch.bincount(uniform.flatten(), minlength=49) / 4000
    assert torch.allclose(counts, torch.full((49,), keep.shape[1] / 49), atol=0.04)
    assert (keep.diff(dim=1) > 0).all()  # sorted, none twice


def test_patchify_is_inverted_by_unpatchify() -> None:
    frames = torch.rand(2, 3, 112, 112)
    assert torch.equal(unpatchify(patchify(frames, 16), 16, (7, 7)), frames)


@pytest.mark.parametrize("kind", ["model", "older"])
@pytest.mark.parametrize("context", [True, False])
def test_audio_in_blocks_equals_audio_at_once(kind: str, context: bool, request: pytest.FixtureRequest) -> None:
    model = request.getfixturevalue(kind)
    wave = np.random.default_rng(0).normal(0, 0.1, 640 * 333).astype(np.float32)
    with torch.inference_mode():
        whole = model.audio_tokens(torch.from_numpy(wave)[None], context)[0]
    stream = AudioTokenStream(model, context)
    for piece in with_context(wave[i : i + 640 * 70] for i in range(0, len(wave), 640 * 70)):
        stream.push(piece)
    assert torch.allclose(stream.finish(), whole, atol=1e-5)


def test_long_clips_go_through_the_vocal_head_in_pieces(older: SyncLipMAE) -> None:
    model = older
    prompts = torch.randn(1, 200, 128)
    with torch.inference_mode():
        reach = model.config.vocal.context_depth * (model.config.vocal.context_kernel // 2)
        pieces = in_spans(model.vocal_head, prompts, context=reach, span=33)
        assert torch.allclose(pieces, model.vocal_head(prompts), atol=1e-5)
        assert not torch.allclose(in_spans(model.vocal_head, prompts, context=0, span=33), pieces, atol=1e-3)


def test_vocal_tokens_of_a_centering_head_do_not_see_a_constant_face(older: SyncLipMAE) -> None:
    prompts = torch.randn(1, 50, 128)
    with torch.inference_mode():
        assert torch.allclose(older.vocal_tokens(prompts), older.vocal_tokens(prompts + 3.0), atol=1e-4)


def test_silence_beside_speech_does_not_change_its_mel(older: SyncLipMAE) -> None:
    model = older
    speech = np.random.default_rng(0).normal(0, 0.1, 640 * 50).astype(np.float32)
    padded = np.concatenate([np.zeros(640 * 50, np.float32), speech])
    alone = torch.cat(model.front_end(torch.from_numpy(speech)[None]), -1)
    beside = torch.cat(model.front_end(torch.from_numpy(padded)[None]), -1)[:, 50:]
    assert float((alone - beside)[:, 1:].abs().mean()) < 0.02


def test_mel_follows_the_sound_in_time(older: SyncLipMAE) -> None:
    model = older
    wave = torch.zeros(1, 640 * 20)
    wave[0, 640 * 7 : 640 * 8] = torch.sin(torch.arange(640) * 2 * math.pi * 1000 / 16000)
    energy = sum(layer.exp().sum(-1) for layer in model.front_end.layers(model.front_end.log_mel(wave)))
    assert int(energy[0].argmax()) == 7


def test_paper_encoder_has_the_size_of_sapiens() -> None:
    with torch.device("meta"):
        encoder = VisualEncoder(paper().visual)
    blocks = sum(p.numel() for p in encoder.blocks.parameters())
    width = 1024
    assert blocks == 24 * (12 * width * width + 13 * width)  # qkv, proj, mlp with biases, two norms
    assert encoder.patches == 64 * 48
    total = sum(p.numel() for n, p in encoder.named_parameters() if n not in ("prompts",))
    assert total == blocks + 2 * width + 3 * 16 * 16 * width + width + 3072 * width
    assert 0.30e9 < total < 0.32e9


def test_checkpoint_round_trip_and_refusals(tmp_path, model: SyncLipMAE) -> None:
    path = tmp_path / "m.safetensors"
    save_checkpoint(path, model, {"note": "test"})
    loaded = load_checkpoint(path)
    assert loaded.metadata == {"note": "test"}
    frames = torch.rand(2, 3, 112, 112)
    with torch.inference_mode():
        assert torch.equal(loaded.model.prompts(frames), model.prompts(frames))
    pickled = tmp_path / "m.pt"
    torch.save({"a": torch.zeros(1)}, pickled)
    with pytest.raises(SyncLipError, match="safetensors"):
        load_checkpoint(pickled)
    with pytest.raises(SyncLipError, match="no such file"):
        load_checkpoint(tmp_path / "nothing.safetensors")


def test_config_names_what_is_wrong() -> None:
    with pytest.raises(SyncLipError, match="unknown setting 'visual.widht'"):
        from_dict(SyncLipMAEConfig, {"visual": {"widht": 3}})
    with pytest.raises(SyncLipError, match=r"visual\.width is 'wide'; expected int"):
        from_dict(SyncLipMAEConfig, {"visual": {"width": "wide"}})


@pytest.mark.parametrize("cross", [True, False])
def test_checkpointing_changes_memory_not_gradients(cross: bool) -> None:
    torch.manual_seed(0)
    config = replace(tiny(), decoder=replace(tiny().decoder, cross_attention=cross))
    model = SyncLipMAE(config).train()
    frames = torch.rand(2, 3, 112, 112)
    keep = masking.uniform_keep(torch.rand(2, model.visual.patches), 0.75)

    def gradients(on: bool) -> list[torch.Tensor]:
        model.zero_grad()
        model.visual.checkpointing = model.decoder.checkpointing = on
        passed = []
        hook = model.decoder.blocks[0].register_forward_pre_hook(lambda *_: passed.append(1))
        patches, prompts = model.visual(frames, keep)
        tokens = (
            model.identity_proj(prompts[:, 0]),
            model.ambient_proj(prompts[:, 2]),
            model.ambient_proj(prompts[:, 1]),
        )
        model.decode(patches, keep, *tokens).square().mean().backward()
        hook.remove()
        assert len(passed) == (2 if on else 1)  # once more on the way back
        return [p.grad.clone() for p in model.parameters() if p.grad is not None]

    for kept, again in zip(gradients(False), gradients(True), strict=True):
        torch.testing.assert_close(kept, again)
