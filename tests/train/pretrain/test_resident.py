"""Clips in the memory of a device: a batch holds what the clips hold, at the places that it names."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from noise_shards import SETTINGS, noise_clip, write_noise

from synclip_core.checkpoint import load_checkpoint, save_checkpoint
from synclip_core.errors import SyncLipError
from synclip_core.files.safetensors_file import read_safetensors
from synclip_core.files.settings import from_dict
from synclip_core.models.config import SyncLipMAEConfig
from synclip_core.models.synclipmae import SyncLipMAE
from train.data import heard
from train.data.clip import Clip
from train.data.heard import hear_all
from train.data.noise import Noise
from train.data.resident import ResidentClips, ResidentSampler, refresh_offsets, resident_prompts
from train.data.sampling import ClipStore, number_of
from train.data.shards import encode_sample, write_shard
from train.pretrain import program as pretrain
from train.pretrain.config import AugmentConfig, DataConfig, PretrainConfig, StageConfig
from train.pretrain.objective.hearing import listen
from train.pretrain.prompts import PromptStore
from train.pretrain.run import take_visual

FRAMES, LENGTH = 20, 60
STAGE = StageConfig(clips=6, frames=FRAMES)


def told_clip(index: int, **meta: object) -> Clip:
    """Whose picture, points and sound say which clip and which tick they are."""
    clip, tick = noise_clip(index, file=f"{index}.mp4", **meta), np.arange(LENGTH)
    grey = np.broadcast_to((8 + 4 * tick)[:, None, None, None], clip.crops.shape).astype(np.uint8)
    geometry = np.zeros((LENGTH, 60, 2), np.float32)
    geometry[:, 0], geometry[:, 1] = index / 16, (tick / 128)[:, None]
    valid = tick % (7 + index) != 0
    audio = np.repeat(tick / 100, 640).astype(np.float32)
    return replace(clip, crops=grey, geometry=geometry, valid=valid, audio=audio)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ClipStore:
    clips = [
        told_clip(0),
        told_clip(1, offset=4, offset_confidence=0.5, sync="unchecked"),
        told_clip(2, offset=-3, offset_confidence=0.5, sync="unchecked"),
        told_clip(3, offset=2, offset_confidence=0.01, sync="unchecked"),
        told_clip(4),
        told_clip(5, subject="s4"),
    ]
    return ClipStore(write_noise(tmp_path_factory.mktemp("told"), clips), "train", 1.0)


@pytest.fixture(scope="module")
def clips(store: ClipStore) -> ResidentClips:
    return ResidentClips(store, "cpu")


def test_all_clips_lie_end_to_end(store: ClipStore, clips: ResidentClips) -> None:
    assert set(clips.place) == set(store.meta) and not clips.refused
    for key, (first, count) in clips.place.items():
        part, clip = slice(first, first + count), store[key]
        np.testing.assert_array_equal(clips.crops[part].numpy(), clip.crops)
        np.testing.assert_array_equal(clips.valid[part].numpy(), clip.valid)
        np.testing.assert_allclose(clips.regions[part].float(), clip.regions(), atol=1e-3)
        sound = clips.audio[first * 640 : (first + count) * 640].numpy() / 32767
        np.testing.assert_allclose(sound, clip.audio, atol=1e-4)
    assert clips.margin == pytest.approx(1 / 14)


def test_a_batch_holds_what_the_clips_hold(store: ClipStore, clips: ResidentClips) -> None:
    sampler, starts = ResidentSampler(clips, DataConfig(speed=0.0), STAGE, 0, 6), set()
    for step in range(6):
        batch = sampler.batch(step)
        keys = sampler.chooser.keys(step)
        assert batch.slots == tuple(range(6)) and batch.audio.shape == (6, FRAMES * 640)
        for row, key in enumerate(keys):
            clip, offset = store[key], store.meta[key].get("offset", 0)
            frame = batch.frame[row].numpy()
            np.testing.assert_array_equal(np.diff(frame), 1)
            index = int(key.removeprefix("clip"))
            assert batch.geometry[row, :, 0].numpy() == pytest.approx(index / 16)
            np.testing.assert_allclose(batch.geometry[row, :, 1, 0] * 128, frame, atol=0.1)
            shown = (batch.crops[row, :, 10, 10, 0].float() - 8) / 4
            np.testing.assert_allclose(shown, frame, atol=0.8)
            np.testing.assert_allclose(batch.regions[row], clip.regions()[frame], atol=1e-3)
            np.testing.assert_array_equal(batch.valid[row].numpy(), clip.valid[frame])
            # positive lag: the video lags, so frame k of the audio belongs to frame k + offset of the video
            heard = batch.audio[row].view(FRAMES, 640)[:, 320] * 100
            np.testing.assert_allclose(heard + offset, frame, atol=0.02)
            assert bool(batch.trusted[row]) == (key != "clip3")
            assert batch.clip[row] == number_of(key) and batch.person[row] == number_of(clip.meta["subject"])
            starts.add(int(frame[0]))
    assert len(starts) > 10 and max(starts) > 25


def test_speed_moves_sound_and_picture_alike(clips: ResidentClips) -> None:
    sampler = ResidentSampler(clips, DataConfig(speed=0.3), STAGE, 0, 6)
    batch = sampler.batch(1)
    offset = torch.tensor([clips.meta[key].get("offset", 0) for key in sampler.chooser.keys(1)])
    heard = batch.audio.view(6, FRAMES, 640)[:, :, 0] * 100 + offset[:, None]
    assert (heard - batch.frame).abs().max() < 1.01
    pace = (batch.frame[:, -1] - batch.frame[:, 0]) / (FRAMES - 1)
    assert pace.min() < 0.93 and pace.max() > 1.07 and batch.frame.min() >= 0 and batch.frame.max() < LENGTH


def test_a_batch_depends_on_seed_and_step_alone(clips: ResidentClips) -> None:
    def tick(seed: int, step: int) -> torch.Tensor:
        return ResidentSampler(clips, DataConfig(), STAGE, seed, 6).batch(step).frame

    sampler = ResidentSampler(clips, DataConfig(), STAGE, 0, 6)
    sampler.batch(0), sampler.batch(9)
    again = sampler.batch(3)
    for name in ("crops", "audio", "valid", "frame", "clip"):
        fresh = ResidentSampler(clips, DataConfig(), STAGE, 0, 6).batch(3)
        assert torch.equal(getattr(again, name), getattr(fresh, name))
    assert not torch.equal(tick(0, 3), tick(1, 3)) and not torch.equal(tick(0, 3), tick(0, 4))


def test_samples_that_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    samples = {c.key: encode_sample(c) for c in map(noise_clip, range(3))}
    samples["clip1"]["video.mp4"] = b"no video"
    write_shard(tmp_path / "all.tar", samples)
    clips = ResidentClips(ClipStore(tmp_path, "train", 0.0), "cpu")
    assert set(clips.place) == {"clip0", "clip2"} and set(clips.refused) == {"clip1"}
    batch = ResidentSampler(clips, DataConfig(), replace(STAGE, clips=4), 0, 4).batch(0)
    assert set(batch.clip.tolist()) == {number_of("clip0"), number_of("clip2")}
    write_shard(tmp_path / "all.tar", {"clip1": samples["clip1"]})
    with pytest.raises(SyncLipError, match="no sample can be read; .*clip1"):
        ResidentClips(ClipStore(tmp_path, "train", 0.0), "cpu")


# ---- offsets ----------------------------------------------------------------------------------------------------


def test_an_untrained_model_moves_no_offset(store: ClipStore) -> None:
    torch.manual_seed(0)
    model = SyncLipMAE(from_dict(SyncLipMAEConfig, SETTINGS["model"])).eval()
    clips = ResidentClips(store, "cpu")
    before = {key: dict(meta) for key, meta in clips.meta.items()}
    told = refresh_offsets(model, clips)
    assert set(told) == {"right"} and told["right"] < 0.8 and clips.meta == before
    # asked for less, it is taken at its word: only unchecked videos, and not those of the store
    told = refresh_offsets(model, clips, needed=0.0)
    assert told["videos"] == 3
    for key, meta in clips.meta.items():
        if before[key]["sync"] == "trusted":
            assert meta == before[key]
        else:
            assert meta["offset_confidence"] != before[key]["offset_confidence"]
    assert store.meta["clip1"]["offset"] == 4


def test_a_model_that_hears_finds_the_offset(store: ClipStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams that tell their tick: the offset of each unchecked video is what its sound says."""
    clips = ResidentClips(store, "cpu")
    shift = {"clip1": 5, "clip2": -2, "clip3": 0}
    code = torch.randn(200, 16, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    model = SyncLipMAE(from_dict(SyncLipMAEConfig, SETTINGS["model"])).eval()
    asked: list[str] = []

    def prompts(frames: torch.Tensor, regions: torch.Tensor, identity: bool = True) -> torch.Tensor:
        tick = ((frames[:, 0, 16, 16] * 255 - 8) / 4).round().long()
        return tick[:, None, None].expand(-1, 3, 16).float()

    def vocal(x: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        return code[x[0, :, 0].long() + 50][None]

    def audio(wave: torch.Tensor) -> torch.Tensor:
        tick = (wave.view(-1, 640)[:, 320] * 100).round().long()
        return code[tick + shift.get(asked[-1], 0) + 50][None]

    monkeypatch.setattr(model, "prompts", prompts)
    monkeypatch.setattr(model, "vocal_tokens", vocal)
    monkeypatch.setattr(model, "audio_tokens", audio)

    class Told(dict):
        def __getitem__(self, key: str) -> tuple[int, int]:
            asked.append(key)
            return super().__getitem__(key)

    clips.place = Told(clips.place)
    told = refresh_offsets(model, clips)
    assert told["right"] == 1 and told["videos"] == told["clear"] == 3
    assert {key: clips.meta[key]["offset"] for key in shift} == shift
    assert all(clips.meta[key]["offset_confidence"] > 0.05 for key in shift)


# ---- a run ------------------------------------------------------------------------------------------------------


def test_a_resident_run_that_was_killed_is_the_unbroken_one(store: ClipStore, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    write_noise(folder, [*map(noise_clip, range(5)), noise_clip(9, "val")])
    stage = {"learn": "all", "steps": 4, "warmup": 1, "clips": 4, "frames": 12, "reconstruct": 2}
    data = {"resident": True, "refresh_offsets_at": 0.5, "clips_per_subject": 2}
    config = tmp_path / "c.yaml"
    config.write_text(yaml.safe_dump({**SETTINGS, "stages": [stage], "data": data}))
    arguments = ["--config", str(config), "--data", str(folder), "--device", "cpu"]
    assert pretrain.main([*arguments, "--out", str(tmp_path / "whole")]) == 0
    for stop in ("1", "3", "4"):
        assert pretrain.main([*arguments, "--out", str(tmp_path / "broken"), "--stop-at", stop]) == 0
    whole, broken = (read_safetensors(tmp_path / out / "last.safetensors")[0] for out in ("whole", "broken"))
    for name, value in whole.items():
        assert torch.equal(value, broken[name]), name
    assert '"offsets"' in (tmp_path / "whole" / "log.jsonl").read_text()
    assert load_checkpoint(tmp_path / "whole" / "model.safetensors").metadata["training"]["steps"] == 4


# ---- a frozen speech encoder hears each clip once (DataConfig.heard) -----------------------------------------------

EARS = {"front_end": "whisper", "align": "rows", "width": 64, "depth": 2, "encoder": {"band": 4}}


def listener(seed: int) -> SyncLipMAE:
    torch.manual_seed(seed)
    model = {**SETTINGS["model"], "audio": EARS, "vocal": {}}  # type: ignore[dict-item]
    return SyncLipMAE(from_dict(SyncLipMAEConfig, model, "test")).eval()


def test_what_was_heard_before_is_what_the_encoder_hears(store: ClipStore, tmp_path: Path) -> None:
    clips, model = ResidentClips(store, "cpu"), listener(0)
    clips.heard = hear_all(model, clips, 3, 1.0, 0, tmp_path)
    assert clips.heard.shape == (3, len(clips.valid), 2 * 2 * 64) and clips.heard.dtype == torch.float16
    for key, (first, count) in clips.place.items():
        with torch.inference_mode():
            wave = torch.from_numpy(store[key].audio)[None]
            told = model.adapter.joined(model.front_end(wave))[0]
        rows = clips.heard[:, first : first + count].float()
        torch.testing.assert_close(rows[0], told, atol=0.02, rtol=0.01)
        assert (rows[0] - rows[1]).abs().mean() > 0.01 < (rows[1] - rows[2]).abs().mean()  # noise, and other noise
    # a batch has the rows of its ticks, and the losses take them instead of the sound
    sampler = ResidentSampler(clips, DataConfig(speed=0.0), STAGE, 0, 6)
    batch = sampler.batch(2)
    for row, key in enumerate(sampler.chooser.keys(2)):
        first, tick = clips.place[key][0], batch.frame[row] - store.meta[key].get("offset", 0)
        assert any(torch.equal(batch.heard[row], version[first + tick]) for version in clips.heard)
    layers, _ = listen(model, replace(batch, audio=torch.empty(0)), AugmentConfig(), Noise([0] * 6))
    assert torch.allclose(model.adapter.joined(layers), batch.heard.float(), atol=0.02)


def test_what_was_heard_is_kept_until_something_changes(
    store: ClipStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips, model = ResidentClips(store, "cpu"), listener(0)
    first = hear_all(model, clips, 2, 1.0, 0, tmp_path)
    kept = set(tmp_path.iterdir())
    assert len(kept) == len(clips.place)
    with monkeypatch.context() as patch:
        patch.setattr(heard, "_heard", lambda *_: pytest.fail("heard twice"))
        assert torch.equal(hear_all(model, clips, 2, 1.0, 0, tmp_path), first)
    for other in ((listener(1), 2, 1.0, 0), (model, 1, 1.0, 0), (model, 2, 0.5, 0), (model, 2, 1.0, 7)):
        hear_all(other[0], clips, *other[1:], tmp_path)
        assert len(set(tmp_path.iterdir())) == len(kept) + len(clips.place)
        kept = set(tmp_path.iterdir())


@pytest.mark.parametrize(
    "change", [{"data": {"heard": 2}}, {"data": {"heard": 2, "resident": True}}], ids=["not resident", "mel"]
)
def test_hearing_before_is_refused_where_it_means_nothing(change: dict) -> None:
    with pytest.raises(SyncLipError, match="data.heard"):
        from_dict(PretrainConfig, {"model": SETTINGS["model"], **change}, "x.yaml")


# ---- alignment on prompts of clips in the memory of a device -------------------------------------------------------


def test_alignment_gets_the_prompts_of_its_ticks(store: ClipStore) -> None:
    clips, model = ResidentClips(store, "cpu"), listener(0)
    stage = replace(STAGE, learn="alignment", views=2)
    clips.prompts = resident_prompts(model, clips, stage, AugmentConfig(), 0)
    assert clips.prompts.shape == (2, len(clips.valid), 16)
    apart = PromptStore(model, store, stage, AugmentConfig(), 0)
    for key, (first, count) in clips.place.items():  # the plain view is that of clips that are read one by one
        told = clips.prompts[0, first : first + count].float()
        torch.testing.assert_close(told, torch.from_numpy(apart[key].prompts[0]).float(), atol=5e-3, rtol=0)
    assert (clips.prompts[0] - clips.prompts[1]).abs().float().mean() > 0.01
    sampler = ResidentSampler(clips, DataConfig(speed=0.0), stage, 0, 6)
    batch = sampler.batch(3)
    assert not batch.crops.numel() and not batch.geometry.numel() and batch.prompts.shape == (6, FRAMES, 16)
    for row, key in enumerate(sampler.chooser.keys(3)):
        place = clips.place[key][0] + batch.frame[row]
        assert any(torch.equal(batch.prompts[row], view[place].float()) for view in clips.prompts)


def test_a_run_of_resident_clips_aligns_and_then_learns_all(store: ClipStore, tmp_path: Path) -> None:
    """From the encoder of a checkpoint of ours, with everything heard before."""
    torch.manual_seed(5)
    old = SyncLipMAE(from_dict(SyncLipMAEConfig, SETTINGS["model"], "test"))
    save_checkpoint(tmp_path / "old.safetensors", old, {})
    folder = write_noise(tmp_path, [told_clip(k) for k in range(4)] + [told_clip(4, split="val")])
    settings = {
        "init": {"visual": str(tmp_path / "old.safetensors")},
        "model": {**SETTINGS["model"], "audio": EARS, "vocal": {}},  # type: ignore[dict-item]
        "data": {"shards": str(folder), "resident": True, "heard": 2},
        "stages": [
            {"learn": "alignment", "steps": 2, "warmup": 1, "clips": 3, "frames": 12},
            {"learn": "all", "steps": 2, "warmup": 1, "clips": 3, "frames": 12, "reconstruct": 2},
        ],
        "loss": {"steadiness": 1.0},
        "validate_every": 100,
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    config = pretrain.load_config(tmp_path / "config.yaml")
    pretrain.pretrain(config, tmp_path / "out", None, "cpu", stop_at=2)
    aligned = load_checkpoint(tmp_path / "out" / "model.safetensors").model
    for name, weight in old.visual.state_dict().items():  # the encoder rests
        torch.testing.assert_close(aligned.visual.state_dict()[name], weight)
    torch.testing.assert_close(aligned.decoder.state_dict(), old.decoder.state_dict())
    pretrain.pretrain(config, tmp_path / "out", None, "cpu")
    whole = load_checkpoint(tmp_path / "out" / "model.safetensors").model
    assert any(
        not torch.equal(a, b) for a, b in zip(whole.visual.parameters(), aligned.visual.parameters(), strict=True)
    )


def test_an_encoder_of_another_size_is_refused() -> None:
    small = {**SETTINGS["model"], "visual": {**SETTINGS["model"]["visual"], "width": 32}}  # type: ignore[index]
    other = SyncLipMAE(from_dict(SyncLipMAEConfig, small, "test"))
    with pytest.raises(SyncLipError, match="other sizes"):
        take_visual(listener(0), other)
