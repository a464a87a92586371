"""Training of dubbing: that tokens come to drive the mouth, that a run goes on after a kill, and what it hands on."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

pytest.importorskip("diffusers")

from dubbing_runs import CONFIG, SIZE, on, write_data  # noqa: E402

from synclip_core.dubbing.audiopack import AudioPack, AudioPackConfig  # noqa: E402
from synclip_core.dubbing.audiopack_file import AudioPackFile, load_audiopack, save_audiopack  # noqa: E402
from synclip_core.dubbing.linear_vae import fit, load_linear_vae, save_linear_vae  # noqa: E402
from synclip_core.dubbing.parts import Part  # noqa: E402
from synclip_core.dubbing.vace import CELL, EDITED, MOUTH, edit_mask  # noqa: E402
from synclip_core.errors import SyncLipError  # noqa: E402
from train.data.clip import Clip  # noqa: E402
from train.data.noise import Noise  # noqa: E402
from train.dubbing.config import DubbingConfig  # noqa: E402
from train.dubbing.dubber import Dubber, generate, to_lesson, to_segment  # noqa: E402
from train.dubbing.export import load_trained  # noqa: E402
from train.dubbing.finetune import finetune  # noqa: E402
from train.dubbing.painter import TorchPainter  # noqa: E402
from train.dubbing.tokens import ClipTokens  # noqa: E402
from train.dubbing.wan.transformers import open_transformer  # noqa: E402
from train.dubbing.windows import Cut, Windows  # noqa: E402
from train.pretrain.config import read_config  # noqa: E402

MARGIN, DIM = 1 / 14, 8


class Faces:
    """Grey faces whose lower half is as bright as their token says; audio and vocal tokens are the same."""

    def __init__(self, clips=6, frames=40):
        made = np.random.default_rng(0)
        self.meta, self.clips, self.tokens = {}, {}, {}
        mouth = edit_mask(SIZE, MARGIN).numpy() > 0
        for k in range(clips):
            bright = made.random(frames) < 0.5
            crops = np.full((frames, SIZE, SIZE, 3), 100 + 5 * k, np.uint8)
            crops[:, mouth] = np.where(bright, 220, 40)[:, None, None]
            tokens = torch.from_numpy(np.where(bright[:, None], np.eye(DIM)[0], np.eye(DIM)[1]))
            yes = torch.ones(frames, dtype=torch.bool)
            key = f"clip{k}"
            self.meta[key] = {"frames": frames, "source": "made", "sync": "trusted", "subject": key}
            self.clips[key] = Clip(key, crops, np.zeros((frames, 60, 2)), yes.numpy(), np.zeros(1), MARGIN, {})
            self.tokens[key] = ClipTokens(tokens, tokens, yes, yes, tokens, torch.zeros(frames, 5, 4))

    def __getitem__(self, key):
        return self.clips[key]


@pytest.fixture(scope="module")
def faces():
    return Faces()


@pytest.fixture(scope="module")
def codec(faces):
    return fit(
        [torch.from_numpy(clip.crops[k : k + 17]).float() / 255 for clip in faces.clips.values() for k in (0, 9)]
    )


def test_tokens_come_to_drive_the_mouth(faces, codec):
    torch.manual_seed(0)
    config = replace(CONFIG, clips=8, history_noise=0.0, outside=0.2)
    pack = AudioPack(AudioPackConfig(128, DIM, "made", hidden=16, depth=1, kernel=3))
    dubber = Dubber(open_transformer(config), pack)
    windows = Windows(faces, faces.tokens, config, pack.config.reach)
    optimizer = torch.optim.Adam(dubber.parameters(), 2e-3)
    for step in range(150):
        batch = windows.draw(step, range(8))
        noise = Noise.of(0, step, range(8))
        loss, _ = dubber(to_lesson(batch, codec, config, noise, torch.device("cpu")), config, noise)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    # the tokens of other frames on the same pictures: the mouth becomes theirs
    hole = edit_mask(SIZE, MARGIN) > 0
    for stream in ("audio", "vocal"):
        cuts = [Cut(f"clip{k}", 3 + 4 * k, 0, stream) for k in range(6)]
        given = windows.collect(cuts, history=False)
        other = windows.collect([replace(cut, first=cut.first + 7) for cut in cuts], history=False)
        batch = replace(given, tokens=other.tokens, valid=other.valid)
        made = generate(dubber, to_segment(batch, codec, torch.device("cpu")), 8, torch.Generator().manual_seed(1))
        mouths = codec.decode(made)[:, :, hole].mean((-1, -2))
        wanted, had = (part.video[:, :, hole].float().mean((-1, -2)) for part in (other, given))
        assert np.corrcoef(mouths.flatten(), wanted.flatten())[0, 1] > 0.8
        assert abs(np.corrcoef(mouths.flatten(), had.flatten())[0, 1]) < 0.6


def test_samples_are_cut_as_the_config_says(faces):
    windows = Windows(faces, faces.tokens, CONFIG, 1)
    drawn = [windows.draw(step, range(4)) for step in range(200)]
    dropped = np.mean([batch.history is None for batch in drawn])
    assert 0.04 < dropped < 0.18 and drawn[0].video.shape == (4, 5, SIZE, SIZE, 3)
    without = np.mean([float((~batch.valid).all(1).float().mean()) for batch in drawn])
    assert 0.05 < without < 0.16
    again = windows.draw(7, range(2, 4))
    assert torch.equal(again.video, drawn[7].video[2:]) and torch.equal(again.tokens, drawn[7].tokens[2:])
    cut = Cut("clip2", 10, 3, "audio")
    batch = windows.collect([cut, replace(cut, flip=True)], history=True)
    crops = torch.from_numpy(faces["clip2"].crops)
    assert torch.equal(batch.video[0], crops[10:15]) and torch.equal(batch.history[0], crops[9])
    assert torch.equal(batch.identity[0], crops[3]) and torch.equal(batch.video[1], crops[10:15].flip(2))
    assert torch.equal(batch.tokens[0], faces.tokens["clip2"].audio[9:16].float())  # one frame of context either side


def test_weights_of_the_loss_and_noise_on_the_history(faces, codec):
    windows = Windows(faces, faces.tokens, CONFIG, 1)
    batch = windows.collect([Cut("clip0", 10, 3, "audio")], history=True)
    config, device = replace(CONFIG, mouth=3.0, outside=0.25, history_noise=0.5), torch.device("cpu")
    plain = to_segment(batch, codec, device)
    lesson = to_lesson(batch, codec, config, Noise([1]), device)
    hole, lips = (edit_mask(SIZE, MARGIN, box)[::CELL, ::CELL] for box in (EDITED, MOUTH))
    assert torch.equal(lesson.weight[0, 0, 2], torch.where(lips > 0, 3.0, torch.where(hole > 0, 1.0, 0.25)))
    assert (lesson.weight[:, :, :2] == 0.25).all() and lips.sum() > 0
    moved = (lesson.context != plain.context).flatten(3).any(-1).any(0)
    assert moved[:16, 1].any() and moved.sum() == moved[:16, 1].sum()
    assert torch.equal(lesson.clean, plain.clean)


# ---- whole runs --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


def test_a_run_that_was_cut_equals_the_unbroken_one_and_dubs(data, tmp_path):
    finetune(on(data), tmp_path / "whole")
    finetune(on(data), tmp_path / "cut", stop_at=4)
    finetune(on(data), tmp_path / "cut")
    whole, cut = (load_file(tmp_path / name / "last.safetensors") for name in ("whole", "cut"))
    assert whole.keys() == cut.keys() and all(torch.equal(whole[name], cut[name]) for name in whole)
    assert (tmp_path / "whole" / "samples" / "0000006.png").exists()
    with pytest.raises(SyncLipError, match="another config"):
        finetune(on(data, lr=1.0), tmp_path / "cut")
    trained = load_trained(tmp_path / "whole", str(data / "vae.safetensors"))
    assert trained.size == SIZE and trained.margin == pytest.approx(MARGIN)
    tokens, valid = torch.randn(20, trained.file.network.config.token_dim), torch.ones(20, dtype=torch.bool)
    crops = np.random.default_rng(0).integers(0, 255, (3, SIZE, SIZE, 3), dtype=np.uint8)
    paint = TorchPainter(trained, tokens, valid, steps=2)
    made = paint(crops, Part(17, 3, True, 0), crops[0], crops[1])
    assert made.shape == crops.shape and made.dtype == np.uint8
    assert np.array_equal(made, paint(crops, Part(17, 3, True, 0), crops[0], crops[1]))
    assert not np.array_equal(made, paint(crops, Part(17, 3, False, 0), crops[0], None))


def test_a_published_model_keeps_its_own_blocks_and_hands_on_what_changed(data, tmp_path):
    finetune(on(data), tmp_path / "first")
    start = tmp_path / "first" / "transformer.safetensors"
    config = on(
        data, trained="vace", transformer_path=str(start), pack_path=str(start.with_name("audiopack.safetensors"))
    )
    finetune(config, tmp_path / "second")
    assert not (tmp_path / "second" / "transformer.safetensors").exists()
    delta = load_file(tmp_path / "second" / "vace_delta.safetensors")
    names = {name.removeprefix("diffusion_model.").split(".")[0] for name in delta}
    assert names == {"vace_blocks", "vace_patch_embedding"} and all(name.endswith(".diff") for name in delta)
    assert not any("modulation" in name for name in delta)  # which ComfyUI would not add
    original, learned = load_file(start), load_file(tmp_path / "second" / "last.safetensors")
    changed = learned["average.transformer.vace_blocks.0.proj_out.weight"] - original["vace_blocks.0.after_proj.weight"]
    given = delta["diffusion_model.vace_blocks.0.after_proj.diff"]
    torch.testing.assert_close(given.float(), changed, atol=1e-5, rtol=1e-2)
    before, after = (load_audiopack(tmp_path / run / "audiopack.safetensors").network for run in ("first", "second"))
    assert not torch.equal(before.project.weight, after.project.weight)
    foreign = tmp_path / "foreign.safetensors"
    save_audiopack(foreign, AudioPackFile(AudioPack(AudioPackConfig(64)), "a" * 64, {}))
    with pytest.raises(SyncLipError, match="driven by tokens of profile"):
        finetune(replace(config, pack_path=str(foreign)), tmp_path / "third")


def test_settings_that_are_wrong_are_named(tmp_path):
    for text, said in (
        ("data: {frames: 16}", "4 n \\+ 1"),
        ("data: {size: 100}", "multiple of 16"),
        ("trained: some", "trained is 'some'"),
        ("transformer: {layers: 5, vace_layers: 2}", "divisor of layers 5"),
        ("pack: {inject_at: text}", "inject_at"),
        ("lora_rank: 0", "lora_rank is 0; expected 1 or more"),
        ("losses: {sink: 1}", "unknown setting 'losses.sink'"),
        ("stepz: 3", "unknown setting 'stepz'"),
    ):
        (tmp_path / "c.yaml").write_text(text)
        with pytest.raises(SyncLipError, match=said):
            read_config(DubbingConfig, tmp_path / "c.yaml")


def test_the_linear_code_keeps_wans_geometry_and_comes_back(tmp_path, codec, faces):
    clip = torch.from_numpy(faces["clip1"].crops[:17]).float()[None] / 255
    latents = codec.encode(clip)
    assert latents.shape == (1, 16, 5, SIZE // 8, SIZE // 8)
    torch.testing.assert_close(codec.encode(clip[:, :1]), latents[:, :, :1])  # the first frame stands alone
    assert (codec.decode(latents) - clip).abs().max() < 0.02
    other = latents.clone()
    other[:, :, 3] = -latents[:, :, 3]
    changed = (codec.decode(other) != codec.decode(latents))[0].flatten(1).any(1)
    # restored from the latent frames beside it too, so that their borders do not flicker; not from farther ones
    assert changed[9:13].all() and changed[5:9].any() and changed[13:].any() and not changed[:5].any()
    save_linear_vae(tmp_path / "vae.safetensors", codec, {})
    assert torch.equal(load_linear_vae(tmp_path / "vae.safetensors").encode(clip), latents)
    with pytest.raises(SyncLipError, match="no linear video code"):
        load_linear_vae(save_and_name(tmp_path))


def save_and_name(folder):
    save_audiopack(folder / "pack.safetensors", AudioPackFile(AudioPack(AudioPackConfig(8)), "", {}))
    return folder / "pack.safetensors"
