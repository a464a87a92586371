"""AudioPack: what it packs, that untrained it changes nothing in diffusers' Wan VACE, and whose tokens it takes."""

import pytest
import torch
from torch import nn

from synclip_core.dubbing import control as audiopack_control
from synclip_core.dubbing.audiopack import AudioPack, AudioPackConfig, latent_frames, window
from synclip_core.dubbing.audiopack_file import AudioPackFile, holds_audiopack, load_audiopack, save_audiopack
from synclip_core.dubbing.control import control_of
from synclip_core.dubbing.injection import embedding_of, guided, injected, on_latents
from synclip_core.errors import SyncLipError

CONFIG = AudioPackConfig(width=128, token_dim=12, profile="toy-12", hidden=16, depth=2, kernel=3)
diffusers = pytest.importorskip("diffusers")


def trained(config=CONFIG, seed=0):
    torch.manual_seed(seed)
    pack = AudioPack(config).eval()
    nn.init.normal_(pack.project.weight, std=0.3)
    nn.init.normal_(pack.missing)
    return pack


def clip(frames=60, dim=12, seed=1):
    return torch.randn(frames, dim, generator=torch.Generator().manual_seed(seed)), torch.ones(frames, dtype=torch.bool)


def vace(seed=0):
    torch.manual_seed(seed)
    sizes = {"num_attention_heads": 1, "attention_head_dim": 128, "num_layers": 4, "ffn_dim": 128, "text_dim": 32}
    return diffusers.WanVACETransformer3DModel(**sizes, vace_layers=[0, 2], vace_in_channels=96).eval()


def inputs(batch=2, frames=4):
    made = torch.Generator().manual_seed(5)
    return {
        "hidden_states": torch.randn(batch, 16, frames, 8, 8, generator=made),
        "control_hidden_states": torch.randn(batch, 96, frames, 8, 8, generator=made),
        "timestep": torch.tensor([500] * batch),
        "encoder_hidden_states": torch.randn(batch, 3, 32, generator=made),
    }


@torch.inference_mode()
def test_segments_get_what_the_whole_clip_gives():
    pack, (tokens, valid) = trained(), clip(61)
    whole = pack(*window(tokens, valid, 0, 61, pack.config.reach))
    assert whole.shape == (1, latent_frames(61), 128)
    for first in (0, 4, 16, 44):  # segments whose packs of four fall together with those of the whole clip
        part = pack(*window(tokens, valid, first, 17, pack.config.reach))
        packs = slice(first // 4 + 1, first // 4 + 5)
        torch.testing.assert_close(part[:, 1:], whole[:, packs], atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_a_pack_depends_on_its_own_frames_and_their_neighbourhood():
    pack, (tokens, valid) = trained(), clip()
    reach = pack.config.reach
    before = pack(*window(tokens, valid, 10, 17, reach))
    moved = tokens.clone()
    moved[10 + 9] += 1  # frame 9 of the segment: pack 3 holds frames 9..12
    changed = (pack(*window(moved, valid, 10, 17, reach)) - before).abs().amax(-1)[0] > 1e-6
    assert changed.tolist() == [False, False, True, True, False]
    assert torch.allclose(pack(*window(tokens * 3, valid, 10, 17, reach)), before, atol=1e-5)  # direction counts


@torch.inference_mode()
def test_frames_without_a_token_do_not_depend_on_what_stands_there():
    pack, (tokens, valid) = trained(), clip(17)
    valid[5:9] = False
    noise = torch.where(valid[:, None], tokens, torch.randn_like(tokens))
    assert torch.equal(pack(*window(tokens, valid, 0, 17, 2)), pack(*window(noise, valid, 0, 17, 2)))
    outside = pack(*window(tokens, valid, 100, 17, 2))  # long past the end
    assert torch.allclose(outside, pack(*window(tokens[:0], valid[:0], 0, 17, 2)))


def test_references_get_zeros_and_lengths_need_not_fit():
    packed = torch.arange(1, 6.0).view(1, 5, 1)
    assert on_latents(packed, 7, 2).flatten().tolist() == [0, 0, 1, 2, 3, 4, 5]
    assert on_latents(packed, 8, 1).flatten().tolist() == [0, 1, 2, 3, 4, 5, 0, 0]
    assert on_latents(packed, 3, 2).flatten().tolist() == [0, 0, 1]
    assert on_latents(packed, 2, 3).flatten().tolist() == [0, 0]


@pytest.mark.parametrize("first", [0, 3, 20])
@torch.inference_mode()
def test_the_control_of_a_stream_is_that_of_each_part_of_it(monkeypatch, first):
    monkeypatch.setattr(audiopack_control, "FRAMES_AT_ONCE", 8)
    pack, (tokens, valid) = trained(), clip(61)
    valid[30:33] = False
    done = []
    control = control_of(pack, tokens, valid, first, progress=lambda *at: done.append(at))
    assert len(done) > 5 and done[-1][0] == done[-1][1] >= 61 - first
    whole = pack(*window(tokens, valid, first, 121, pack.config.reach))
    torch.testing.assert_close(control.on(31, 0), whole, atol=1e-5, rtol=1e-5)
    assert 61 - first > 4 * (control.packed.shape[1] - 5)  # and it is no longer than need be
    ended = pack(*window(tokens, valid, 1000, 5, pack.config.reach))[:, 1]
    torch.testing.assert_close(control.on(99, 2)[:, -1], ended, atol=1e-5, rtol=1e-5)
    assert torch.equal(control.on(9, 2)[:, 2:], control.on(7, 0)) and not control.on(9, 2)[:, :2].any()
    assert torch.equal(control.on(9, 2, [8, 0, 5]), control.on(9, 2)[:, [8, 0, 5]])
    assert torch.equal(control.scaled(0.5).on(9, 2), control.on(9, 2) / 2)
    assert control.on(2, 3).shape == (1, 2, 128) and not control.on(2, 3).any()


def test_frames_without_a_token_are_counted():
    tokens, valid = clip(20)
    valid[4] = False
    control = control_of(trained(), tokens, valid, 3)
    assert [control.without_token(frames) for frames in (1, 2, 17, 21)] == [0, 1, 1, 5]
    for wrong in (20, 500):
        with pytest.raises(SyncLipError, match=f"no frame from {wrong} on has a token"):
            control_of(trained(), tokens, valid, wrong)
    with pytest.raises(SyncLipError, match="no frame from 0 on"):
        control_of(trained(), tokens, valid & False)


@pytest.mark.parametrize("inject_at", ["vace", "video"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_untrained_it_leaves_diffusers_bit_identical(inject_at, dtype):
    model, given = vace().to(dtype), {k: v if k == "timestep" else v.to(dtype) for k, v in inputs().items()}
    tokens, valid = clip()
    stock = model(**given).sample
    pack = AudioPack(CONFIG).eval()
    control = on_latents(pack(*window(tokens, valid, 0, 9, pack.config.reach)), 4, 1)
    with injected(embedding_of(model, inject_at), control):
        assert torch.equal(model(**given).sample, stock)
    control = on_latents(trained()(*window(tokens, valid, 0, 9, pack.config.reach)), 4, 1)
    with injected(embedding_of(model, inject_at), control):
        driven = model(**given).sample
    assert not torch.equal(driven, stock)
    assert torch.equal(guided(stock, stock, 2.5), stock) and torch.equal(guided(stock, driven, 1.0), driven)
    assert torch.equal(model(**given).sample, stock)  # nothing stays behind


@torch.inference_mode()
def test_the_control_is_what_is_added_to_the_embedding():
    model, control = vace(), torch.randn(2, 4, 128)
    embedding, given = embedding_of(model, "vace"), inputs()["control_hidden_states"]
    plain = embedding(given)
    with injected(embedding, control):
        assert torch.equal(embedding(given), plain + control.transpose(1, 2)[..., None, None])
        both = torch.cat([given, given * 2])  # two contexts of a batch of two
        assert torch.equal(embedding(both)[2:], embedding_of(vace(), "vace")(both)[2:] + control.mT[..., None, None])
    with pytest.raises(SyncLipError, match="does not fit"), injected(embedding, control[:, :3]):
        embedding(given)
    assert torch.equal(embedding(given), plain)


def test_gradients_reach_the_pack_with_and_without_checkpointing():
    tokens, valid = clip()
    grads = []
    for checkpointing in (False, True):
        model, pack = vace().train(), trained()
        if checkpointing:
            model.enable_gradient_checkpointing()
        control = on_latents(pack(*window(tokens, valid, 0, 9, 2)), 4, 1).expand(2, -1, -1)
        with injected(embedding_of(model, "vace"), control):
            model(**inputs()).sample.square().mean().backward()
        grads.append([p.grad for p in pack.parameters()])
    assert all(float(g.abs().max()) > 0 for g in grads[0][1:])
    for plain, again in zip(*grads, strict=True):
        torch.testing.assert_close(plain, again)


def test_a_file_comes_back_and_refuses_tokens_of_another_profile(tmp_path):
    path = tmp_path / "pack.safetensors"
    save_audiopack(path, AudioPackFile(trained(), "a" * 64, {"training": {"steps": 3}}))
    found = load_audiopack(path)
    (tmp_path / "other.safetensors").write_bytes(b"no safetensors")
    assert [holds_audiopack(tmp_path / name) for name in (path.name, "other.safetensors", "gone")] == [
        True,
        False,
        False,
    ]
    tokens, valid = clip()
    with torch.inference_mode():
        assert torch.equal(found.network(*window(tokens, valid, 3, 17, 2)), trained()(*window(tokens, valid, 3, 17, 2)))
    assert found.metadata == {"training": {"steps": 3}}
    found.check("a" * 64, 12)
    found.check_width(128)
    with pytest.raises(SyncLipError, match="profile toy-12"):
        found.check("b" * 64, 12)
    with pytest.raises(SyncLipError, match="this one has 1536"):
        found.check_width(1536)


def test_other_models_and_files_are_refused(tmp_path):
    with pytest.raises(SyncLipError, match="Wan VACE"):
        embedding_of(nn.Linear(2, 2), "vace")
    save_audiopack(tmp_path / "odd.safetensors", AudioPackFile(AudioPack(AudioPackConfig(inject_at="text")), "", {}))
    with pytest.raises(SyncLipError, match="inject_at"):
        load_audiopack(tmp_path / "odd.safetensors")
    with pytest.raises(SyncLipError, match="no such file"):
        load_audiopack(tmp_path / "none.safetensors")
