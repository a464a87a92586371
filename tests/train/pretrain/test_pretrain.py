"""Pretraining: a killed run that goes on is the unbroken run, stages hand over, wrong settings are named."""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from noise_shards import SETTINGS, noise_clip, write_noise
from PIL import Image

from synclip_core.checkpoint import load_checkpoint
from synclip_core.errors import SyncLipError
from synclip_core.files.safetensors_file import read_safetensors, save_safetensors
from synclip_core.pipeline import SyncPipeline
from train.data.noise import Noise
from train.data.sampling import ClipStore, Sampler, cut
from train.data.shards import encode_sample, write_shard
from train.engine.journal import Journal
from train.pretrain import export
from train.pretrain import program as pretrain
from train.pretrain.config import DataConfig, OptimConfig, StageConfig, load_config
from train.pretrain.objective.views import shuffle_identity
from train.pretrain.run import Run, learning_rate


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_noise(tmp_path_factory.mktemp("shards"), [*map(noise_clip, range(5)), noise_clip(9, "val")])


def config_file(folder: Path, **changes: object) -> Path:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(SETTINGS | changes), encoding="utf-8")
    return path


def weights(out: Path) -> dict[str, torch.Tensor]:
    return read_safetensors(out / "last.safetensors")[0]


@pytest.fixture(scope="module")
def unbroken(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("unbroken")
    assert pretrain.main(["--config", str(config_file(out)), "--data", str(shards), "--out", str(out)]) == 0
    return out


@pytest.mark.parametrize("stops", [(1, 2), (3,), (4, 6), (8,)], ids=str)
def test_a_resumed_run_is_the_unbroken_one(shards: Path, unbroken: Path, tmp_path: Path, stops: tuple[int]) -> None:
    arguments = ["--config", str(config_file(tmp_path)), "--data", str(shards), "--out", str(tmp_path)]
    for stop in stops:
        assert pretrain.main([*arguments, "--stop-at", str(stop)]) == 0
        assert read_safetensors(tmp_path / "last.safetensors")[1]["step"] == str(stop)
    assert pretrain.main(arguments) == 0
    expected = weights(unbroken)
    for name, value in weights(tmp_path).items():
        assert torch.equal(value, expected[name]), name


def test_each_stage_learns_its_part_only(shards: Path, unbroken: Path, tmp_path: Path) -> None:
    arguments = ["--config", str(config_file(tmp_path)), "--data", str(shards), "--out", str(tmp_path)]
    states = []
    for stop in (3, 6, 10):
        assert pretrain.main([*arguments, "--stop-at", str(stop)]) == 0
        states.append(weights(tmp_path))

    def changed(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> set[str]:
        names = [n for n in one if n.startswith("average.")]
        return {n.split(".")[1] for n in names if not torch.equal(one[n], two[n])}

    temporal = {"vocal_context", "audio_context", "context_scale"}
    assert changed(states[0], states[1]) == {"vocal_head", "adapter", "logit_scale"} | temporal
    assert changed(states[1], states[2]) >= {"visual", "vocal_head", "adapter", "decoder", "identity_proj"}
    model = load_checkpoint(tmp_path / "model.safetensors").model
    assert torch.equal(model.vocal_head.proj.weight, states[2]["average.vocal_head.proj.weight"])
    rows = [json.loads(line) for line in (unbroken / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "validation" in row] == [6, 10]


def test_settings_that_are_wrong_are_named(shards: Path, tmp_path: Path) -> None:
    for changes, words in (
        ({"sedd": 1}, "unknown setting 'sedd'"),
        ({"loss": 3}, "loss is 3; expected a mapping"),
        ({"stages": [{}, {"lr": "fast"}]}, r"stages\[1\].lr is 'fast'; expected float"),
        ({"stages": [{"lr": -1.0}]}, r"stages\[0\].lr is -1.0; expected more than 0"),
        ({"stages": [{"lr": float("nan")}]}, r"stages\[0\].lr is nan; expected a finite number"),
        ({"stages": [{"steps": 0}]}, r"stages\[0\].steps is 0; expected 1 or more"),
        ({"stages": [{"learn": "everything"}]}, "learn is 'everything'; expected one of all, vision, alignment"),
        ({"stages": []}, "stages is empty"),
        ({"stages": [{"clips": 3}], "data": {"clips_per_subject": 2}}, "multiple of data.clips_per_subject"),
        ({"optim": {"accumulate": 0}}, "optim.accumulate is 0"),
        ({"optim": {"ema": 2.0}}, "optim.ema is 2.0; expected 0 to "),
        ({"checkpoint_every": True}, "checkpoint_every is True; expected int"),
        ({"model": {"geometry_points": 0}}, "geometry_points is 0"),
        ({"model": {"visual": {"image_size": [112]}}}, "expected 2 values"),
        ({"model": {"visual": {"image_size": [110, 112]}}}, "expected multiples of patch_size 16"),
        ({"model": {"visual": {"heads": 3}}}, "model.visual.width is 128; expected a multiple of heads 3"),
        ({"model": {"visual": {"stem": "conv", "stem_strides": [4, 4]}}}, "stem_strides is"),
        ({"model": {"visual": {"width": 10**9}}}, "expected 1 to 65536"),
        ({"model": {"audio": {"adapter_kernel": 4}}}, "expected an odd number"),
        ({"model": {"visual": {"view": "nose"}}}, "model.visual.view is 'nose'; expected one of face, mouth"),
        ({"model": {"context": {"kernel": 4}}}, r"model\.context\.kernel is 4; expected an odd number"),
        ({"model": {"context": {"depth": -1}}}, r"model\.context\.depth is -1"),
        ({"model": {"audio": {"norm_layers": 1}}}, "norm_layers is 1; expected bool"),
        ({"model": {"audio": {"front_end": "wav2vec2", "align": "rows"}}}, "wav2vec2 knows features and waveform"),
        ({"loss": {"decorrelation_memory": 1.0}}, "loss.decorrelation_memory is 1.0; expected 0 to 0.999"),
        ({"loss": {"decorrelation_warmup": -1}}, "loss.decorrelation_warmup is -1"),
        ({"loss": {"identity_contrast": -0.1}}, "loss.identity_contrast is -0.1"),
        ({"loss": {"face_weight": float("inf")}}, "loss.face_weight is inf"),
        ({"augment": {"degrade": -1.0}}, "augment.degrade is -1.0"),
        ({"augment": {"sound": "loud"}}, "augment.sound is 'loud'"),
        ({"data": {"refresh_offsets_at": 1.5}}, "data.refresh_offsets_at is 1.5"),
        ({"data": {"refresh_offsets_at": 0.4}}, "refresh_offsets_at needs data.resident"),
    ):
        with pytest.raises(SyncLipError, match=words):
            load_config(config_file(tmp_path, **changes))


def test_another_model_or_a_changed_past_is_not_resumed(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(stop: int, **changes: object) -> int:
        config = config_file(tmp_path, **changes)
        return pretrain.main(
            ["--config", str(config), "--data", str(shards), "--out", str(tmp_path), "--stop-at", str(stop)]
        )

    assert run(4) == 0
    first, second, last = SETTINGS["stages"]  # type: ignore[misc]
    assert run(5, stages=[first, {**second, "lr": 0.5}, last]) == 4
    assert "other stages" in capsys.readouterr().err
    assert run(5, model={**SETTINGS["model"], "dim": 8}) == 4  # type: ignore[dict-item]
    assert run(5, stages=[first, second, {**last, "lr": 0.5}]) == 0


def test_a_checkpoint_is_trained_further(shards: Path, unbroken: Path, tmp_path: Path) -> None:
    """It brings its model; what YAML says of it is laid over; the tables before the first step are in the log."""
    start = unbroken / "model.safetensors"
    further = {"init": {"model": str(start)}, "stages": SETTINGS["stages"][2:], "validate_every": 100}  # type: ignore[index]
    path = tmp_path / "further.yaml"
    path.write_text(yaml.safe_dump(further | {"model": {"visual": {"bypasses": "face"}}}), encoding="utf-8")
    config, before = load_config(path), load_checkpoint(start).model
    assert config.model.visual == replace(before.config.visual, bypasses="face") and config.model.dim == 16
    for name, value in Run(config, tmp_path / "none", "cpu").average.state_dict().items():
        assert torch.equal(value, before.state_dict()[name]), name

    arguments = ["--config", str(path), "--data", str(shards), "--out", str(tmp_path / "out")]
    assert pretrain.main([*arguments, "--stop-at", "2"]) == 0 and pretrain.main(arguments) == 0
    rows = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    checks = [row for row in rows if "validation" in row]
    assert [row["step"] for row in checks] == [0, 2, 4]
    last = [json.loads(line) for line in (unbroken / "log.jsonl").read_text().splitlines()][-1]
    assert checks[0]["validation"] == last["validation"]


def test_what_a_start_cannot_be(shards: Path, unbroken: Path, tmp_path: Path) -> None:
    start = str(unbroken / "model.safetensors")
    for changes, words in (
        ({"init": {"model": start, "audio": "wav2vec2"}}, "brings its own encoders"),
        ({"init": {"model": str(tmp_path / "none.safetensors")}}, "no such file"),
        ({"init": {"model": str(unbroken / "last.safetensors")}}, "not a SyncLipMAE checkpoint"),
    ):
        with pytest.raises(SyncLipError, match=words):
            load_config(config_file(tmp_path, **changes))
    wide = load_config(config_file(tmp_path, init={"model": start}, model={"dim": 8}))
    with pytest.raises(SyncLipError, match="sizes of `model:`"):
        Run(wide, tmp_path, "cpu")


def test_the_bundled_checkpoint_needs_no_model_in_the_yaml() -> None:
    config = load_config(Path(__file__).parents[3] / "train" / "configs" / "finetune.yaml")
    assert config.model == load_checkpoint().model.config


def test_a_device_that_is_not_there_is_named(shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--config", str(config_file(tmp_path)), "--data", str(shards), "--out", str(tmp_path / "out")]
    for device in ("abacus", "meta"):
        assert pretrain.main([*arguments, "--device", device]) == 4
        assert f"device '{device}' cannot be used here" in capsys.readouterr().err
    with pytest.raises(SyncLipError, match="device 'abacus' cannot be used here"):
        SyncPipeline(device="abacus")


@pytest.mark.skipif(sys.platform == "win32", reason="no locks there")
def test_two_runs_do_not_share_a_folder(shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--config", str(config_file(tmp_path)), "--data", str(shards), "--out", str(tmp_path / "out")]
    with Journal(tmp_path / "out") as journal:
        journal.write(1, {"total": 1.0})
        assert pretrain.main([*arguments, "--stop-at", "1"]) == 4
        assert "another run is at work in this folder" in capsys.readouterr().err
    assert not (tmp_path / "out" / "last.safetensors").exists()
    assert pretrain.main([*arguments, "--stop-at", "1"]) == 0


def test_missing_shards_and_short_clips_say_so(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(SyncLipError, match="no shards"):
        ClipStore(tmp_path, "train", 1.0)
    with pytest.raises(SyncLipError, match="no sample of split 'dev'"):
        ClipStore(shards, "dev", 1.0)
    with pytest.raises(SyncLipError, match="no sample is as long"):
        Sampler(ClipStore(shards, "train", 1.0), DataConfig(), StageConfig(frames=100), 0)


def test_damaged_files_are_named(shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A shard cut short, one of noise, one whose notes are not JSON; a state and a config that are none."""
    config, data, out = config_file(tmp_path), tmp_path / "data", tmp_path / "out"
    data.mkdir(), out.mkdir()
    shard, whole = data / "all.tar", (shards / "all.tar").read_bytes()

    def said() -> str:
        assert pretrain.main(["--config", str(config), "--data", str(data), "--out", str(out)]) == 4
        return capsys.readouterr().err

    for damaged in (whole[: len(whole) // 2], b"noise" * 1000, whole.replace(b'"frames": 60', b'"frames"= 60', 1)):
        shard.write_bytes(damaged)
        assert f"{shard}: damaged shard" in said()
    shard.write_bytes(whole)
    (out / "last.safetensors").write_bytes(b"noise")
    assert "last.safetensors: not a safetensors file" in said()
    save_safetensors(out / "last.safetensors", {"a": torch.zeros(1)}, {})
    assert "last.safetensors: is no state of a training run" in said()
    config.write_text("stages: [", encoding="utf-8")
    assert "not valid YAML" in said()
    config.unlink()
    assert "cannot read the config" in said()


@pytest.mark.parametrize("offset", [-4, 0, 3])
def test_the_clips_own_offset_is_taken_out(offset: int) -> None:
    """Positive lag: the video lags, so frame k of the audio belongs to frame k + offset of the video."""
    clip = noise_clip(0, offset=offset)
    clip.audio = np.repeat(np.arange(60, dtype=np.float32), 640)  # tells its own tick
    part = cut(clip, 20, DataConfig(speed=0.0), np.random.default_rng(0))
    assert part is not None
    heard = part.audio.reshape(20, 640)[:, 320]
    np.testing.assert_array_equal(part.frame, heard + offset)


def test_speed_changes_sound_and_picture_alike() -> None:
    clip = noise_clip(0)
    clip.audio = np.repeat(np.arange(60, dtype=np.float32), 640)
    part = cut(clip, 40, DataConfig(speed=0.5), np.random.default_rng(1))
    assert part is not None
    heard = part.audio.reshape(40, 640)[:, 0]
    assert abs(np.diff(part.frame).mean() - 1) > 0.05
    assert np.abs(part.frame - heard).max() <= 1


def test_export_ships_half_precision_with_thresholds(unbroken: Path, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(json.dumps({"thresholds": {"confidence": 0.07}}), encoding="utf-8")
    arguments = ["--run", str(unbroken), "--out", str(tmp_path / "tiny.safetensors")]
    assert export.main([*arguments, "--thresholds", str(tmp_path / "report.json")]) == 0
    shipped, trained = load_checkpoint(tmp_path / "tiny.safetensors"), load_checkpoint(unbroken / "model.safetensors")
    assert shipped.metadata["thresholds"]["confidence"] == 0.07
    assert shipped.metadata["training"]["steps"] == 10
    for name, value in shipped.model.state_dict().items():
        torch.testing.assert_close(value, trained.model.state_dict()[name], atol=1e-3, rtol=1e-3)
    assert (tmp_path / "tiny.safetensors").stat().st_size < 0.6 * (unbroken / "model.safetensors").stat().st_size
    assert export.main(["--run", str(tmp_path), "--out", str(tmp_path / "no.safetensors")]) == 4


def test_the_memory_of_the_objective_is_saved_and_counts_steps_of_the_whole_objective(unbroken: Path) -> None:
    state = weights(unbroken)
    assert float(state["memory.steps"]) == 4  # the stages before compare no factors
    assert state["memory.mean"].shape == (3, 16, 16) and state["memory.mean"].abs().max() > 1e-3


def test_decorrelation_comes_in_slowly(shards: Path, tmp_path: Path) -> None:
    """Its weight is 0 at the first step and rises by one `decorrelation_warmup`-th a step."""
    stage = {**SETTINGS["stages"][2], "steps": 9}  # type: ignore[index]
    runs = []
    for weight in (0.0, 1000.0):
        loss = {"decorrelation": weight, "decorrelation_warmup": 4}
        config = load_config(config_file(tmp_path, stages=[stage], loss=loss))
        runs.append(Run(config, tmp_path, "cpu"))
    sampler = Sampler(ClipStore(shards, "train", 1.0), config.data, config.stages[0], 0)
    batches = [sampler.batch(step) for step in range(3)]

    def apart() -> bool:
        return not all(
            torch.equal(a, b) for a, b in zip(runs[0].model.parameters(), runs[1].model.parameters(), strict=True)
        )

    without, first = (run.learn([batches[0]]) for run in runs)
    assert not apart() and first["total"] == without["total"] and first["decorrelation"] > 0
    runs[1].model.load_state_dict(runs[0].model.state_dict())
    without, second = (run.learn([batches[1]]) for run in runs)
    assert apart()
    assert second["total"] - without["total"] == pytest.approx(1000 / 4 * second["decorrelation"], rel=1e-3)


# ---- what a lent machine needs -----------------------------------------------------------------------------------


@pytest.mark.parametrize("stages", [1, 3])
def test_a_run_whose_time_is_over_still_ships(shards: Path, tmp_path: Path, stages: int) -> None:
    """Stages before the last are not cut short."""
    config = config_file(tmp_path, stages=SETTINGS["stages"][-stages:])  # type: ignore[index]
    arguments = ["--config", str(config), "--data", str(shards), "--out", str(tmp_path), "--minutes", "1e-9"]
    assert pretrain.main(arguments) == 0
    shipped = load_checkpoint(tmp_path / "model.safetensors")
    assert shipped.metadata["training"]["steps"] == (0 if stages == 1 else 6)


def test_a_run_that_ends_early_saves_judges_and_comes_down(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = {**SETTINGS["stages"][2], "steps": 1000, "lr": 1.0e-3}  # type: ignore[index]
    config = config_file(tmp_path, stages=[stage], checkpoint_every=500)
    # a clock that goes a third of a minute a step
    monkeypatch.setattr(Run, "progress", property(lambda self: min(1.0, self.step / 3)))
    assert pretrain.main(["--config", str(config), "--data", str(shards), "--out", str(tmp_path)]) == 0
    assert read_safetensors(tmp_path / "last.safetensors")[1]["step"] == "3"
    assert load_checkpoint(tmp_path / "model.safetensors").metadata["training"]["steps"] == 3
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "validation" in row] == [3]
    optim, long = OptimConfig(final_lr=0.02), StageConfig(steps=1000, warmup=0, lr=1.0)
    assert learning_rate(10, long, optim, 1.0) == pytest.approx(0.02)
    assert learning_rate(10, long, optim, 0.5) == pytest.approx(0.51)
    assert learning_rate(10, long, optim) == pytest.approx(1.0, abs=1e-3)
    assert learning_rate(900, long, optim, 0.1) == learning_rate(900, long, optim)  # the steps may end first


def test_time_goes_from_the_start_of_the_program_and_for_the_last_stage(tmp_path: Path) -> None:
    run = Run(load_config(config_file(tmp_path)), tmp_path, "cpu")
    run.end_after(0.0, 0.0)
    assert run.progress == 0
    run.end_after(1.0, time.monotonic() - 30)
    assert run.progress == 0  # stages are to come
    run.begin_stage(2)
    assert run.progress == pytest.approx(0.5, abs=0.05)
    run.end_after(1.0, time.monotonic() - 300)
    assert run.progress == 1


# ---- batches and falls -------------------------------------------------------------------------------------------


def test_processes_draw_their_part_of_the_same_batch(shards: Path) -> None:
    stage = StageConfig(clips=4, frames=12)
    sampler = Sampler(ClipStore(shards, "train", 1.0), DataConfig(), stage, 0)
    whole, first, second = sampler.batch(3), sampler.batch(3, [0, 1]), sampler.batch(3, [2, 3])
    for name in ("crops", "audio", "valid", "geometry"):
        torch.testing.assert_close(torch.cat([getattr(first, name), getattr(second, name)]), getattr(whole, name))
    both, alone = Noise.of(5, 3, whole.slots).normal(4), Noise.of(5, 3, second.slots).normal(4)
    torch.testing.assert_close(alone, both[2:])
    assert not torch.equal(both, Noise.of(5, 4, whole.slots).normal(4))


def test_clips_of_a_subject_stand_together_and_swap_faces(tmp_path: Path) -> None:
    clips = [noise_clip(i, subject=f"s{i // 3}") for i in range(9)] + [noise_clip(20, subject="alone")]
    store = ClipStore(write_noise(tmp_path, clips), "train", 1.0)
    sampler = Sampler(store, DataConfig(clips_per_subject=2), StageConfig(clips=6, frames=12), 0)
    pairs = []
    for step in range(10):
        keys = sampler.keys(step)
        assert len(keys) == 6
        pairs += list(zip(keys[::2], keys[1::2], strict=True))
    subjects = [(store.meta[one]["subject"], store.meta[two]["subject"]) for one, two in pairs]
    assert all(one == two for one, two in subjects)
    # the same clip twice only where a person has no other, or none that the batch has not
    twice = [subject for (one, two), (subject, _) in zip(pairs, subjects, strict=True) if one == two]
    assert "alone" in twice and len(twice) < len(pairs) / 2
    identity = torch.arange(24.0).view(4, 6, 1)
    shuffled = shuffle_identity(identity, 2, 1.0, Noise(range(4)))
    for pair, own in zip(shuffled.view(2, 12), identity.view(2, 12), strict=True):
        assert sorted(pair.tolist()) == own.tolist() and not torch.equal(pair, own)
    assert (shuffled[0] >= 6).any()  # frames of the other clip of the same person
    assert torch.equal(shuffle_identity(identity, 2, 0.0, Noise(range(4))), identity)


def test_samples_that_cannot_be_read_are_skipped_and_counted(tmp_path: Path) -> None:
    clips = [noise_clip(i) for i in range(3)]
    samples = {c.key: encode_sample(c) for c in clips}
    samples["clip1"]["video.mp4"] = b"no video"
    write_shard(tmp_path / "all.tar", samples)
    store, empty = ClipStore(tmp_path, "train", 1.0), ClipStore(tmp_path, "train", 0.0)
    sampler = Sampler(store, DataConfig(), StageConfig(clips=3, frames=12), 0)
    assert sampler.batch(0).crops.shape[0] == 3 and list(sampler.refused) == ["clip1"]
    (tmp_path / "all.tar").unlink()  # a disk that goes while training
    with pytest.raises(SyncLipError, match="100 samples in a row are of no use; .*(clip1|all.tar)"):
        Sampler(empty, DataConfig(), StageConfig(clips=3, frames=12), 0).batch(0)


def test_a_gradient_that_is_not_finite_is_left_out(shards: Path, tmp_path: Path) -> None:
    """One process keeps its weights; an engine that stepped already falls back to its last checkpoint."""
    config = load_config(config_file(tmp_path, stages=[{**SETTINGS["stages"][2], "steps": 9}]))
    sampler = Sampler(ClipStore(shards, "train", 1.0), config.data, config.stages[0], 0)
    run = Run(config, tmp_path, "cpu")
    batches = [sampler.batch(step) for step in range(4)]
    run.learn([batches[0]])
    run.save()
    run.learn([batches[1]])
    poisoned = replace(batches[2], audio=batches[2].audio * float("nan"))
    before = {k: v.clone() for k, v in run.model.state_dict().items()}
    assert run.learn([poisoned])["skipped"] == 1 and run.step == 3
    assert all(torch.equal(v, before[k]) for k, v in run.model.state_dict().items())
    run.engine.skips = False
    values = run.learn([replace(batches[3], audio=batches[3].audio * float("nan"))])
    assert values["skipped"] == 1 and run.step == 1 and run.skip == {2, 3}
    run.learn([batches[1]])
    assert run.learn([batches[2]]) == {"skipped": 1.0} and run.step == 3


def test_a_run_without_any_finite_gradient_gives_up(shards: Path, tmp_path: Path) -> None:
    config = load_config(config_file(tmp_path, stages=[{**SETTINGS["stages"][2], "steps": 50}]))
    sampler = Sampler(ClipStore(shards, "train", 1.0), config.data, config.stages[0], 0)
    run = Run(config, tmp_path, "cpu")
    poisoned = replace(sampler.batch(0), audio=sampler.batch(0).audio * float("nan"))
    with pytest.raises(SyncLipError, match="no finite gradient in 20 steps"):
        for _ in range(25):
            run.learn([poisoned])
    assert run.step == 19


def test_what_is_told_of_a_run(shards: Path, unbroken: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (unbroken / "log.jsonl").read_text().splitlines()]
    assert all(0 <= row["data_wait"] < 1 for row in rows if "data_wait" in row)
    assert load_checkpoint(unbroken / "best.safetensors").metadata["training"]["validation"]
    picture = Image.open(unbroken / "samples" / "0000010.png")
    assert picture.size == (4 * 160, 24 + 160)  # the one validation clip
    seen, target = (np.asarray(picture.crop((k * 160, 24, k * 160 + 160, 184))).astype(int) for k in (0, 3))
    grey = np.abs(seen - 127).max(-1) < 3
    assert 0.5 < grey.mean() < 0.95 and np.abs(seen - target)[~grey].mean() < 12 < np.abs(seen - target)[grey].mean()
    with Journal(tmp_path) as journal:
        journal.write(3, {"total": float("inf"), "table": {"acc": 1.5}})
    assert json.loads((tmp_path / "log.jsonl").read_text()) == {"step": 3, "total": None, "table": {"acc": 1.5}}
