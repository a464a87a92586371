"""Ablations are the config with one thing changed, and the grid's table is what its runs measured."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from noise_shards import SETTINGS, noise_clip, write_noise

from synclip_core.errors import SyncLipError
from synclip_core.models.audio.speech import SpeechEncoder, halve
from synclip_core.models.config import AudioConfig
from train.ablate import program as ablate
from train.ablate.report import table
from train.ablate.variants import VARIANTS, variant_config
from train.data.noise import Noise
from train.data.sampling import ClipStore, Sampler
from train.pretrain.config import PretrainConfig, load_config
from train.pretrain.objective import Step, pretraining_losses
from train.pretrain.objective.views import bypass_2
from train.pretrain.run import Run

WHISPER = {
    "front_end": "whisper",
    "align": "rows",
    "width": 64,
    "depth": 3,
    "norm_layers": True,
    "encoder": {"band": 4},
}
STAGE = {"learn": "all", "steps": 2, "warmup": 1, "clips": 2, "frames": 12, "reconstruct": 3}


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    clips = [*map(noise_clip, range(4)), noise_clip(8, "val"), noise_clip(9, "test")]
    return write_noise(tmp_path_factory.mktemp("shards"), clips)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> PretrainConfig:
    path = tmp_path_factory.mktemp("config") / "base.yaml"
    # everything of ours that a row takes away is on, and the ears are a small Whisper's
    model = {**SETTINGS["model"], "audio": WHISPER}
    ours = {"identity_contrast": 0.2, "steadiness": 1.0, "face_weight": 3.0, "self_similarity": 2.0}
    path.write_text(yaml.safe_dump({**SETTINGS, "model": model, "loss": ours, "stages": [STAGE]}))
    return load_config(path)


def test_each_row_changes_what_it_says(base: PretrainConfig) -> None:
    changed = {name: variant_config(base, variant, 7) for name, variant in VARIANTS.items()}
    assert {config.seed for config in changed.values()} == {7}
    assert changed["ours"] == replace(base, seed=7)
    assert (changed["A1"].model.visual.bypasses, changed["A2"].model.visual.bypasses) == ("uniform", "face")
    assert changed["A3"].augment.photometric == 0 and changed["A3"].augment.mel == base.augment.mel
    assert changed["B1"].model.audio.layers == "last" and not changed["C1"].model.decoder.cross_attention
    assert changed["single-pass"].loss.passes == ("video",)
    assert changed["no-decorrelation"].loss.decorrelation == 0 == changed["no-shuffle"].loss.shuffle_identity
    assert changed["waveform"].model.audio == replace(changed["features"].model.audio, align="waveform")
    assert changed["A3"].augment.degrade == 0 and changed["averaged"].model.audio.align == "features"
    assert changed["mel"].model.audio.front_end == "mel" and changed["features"].init.audio == ""
    assert len({str(config) for config in changed.values()}) == len(VARIANTS)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_row_learns(base: PretrainConfig, shards: Path, name: str) -> None:
    config = variant_config(base, VARIANTS[name], 0)
    run = Run(config, Path(), "cpu")
    before = {k: v.clone() for k, v in run.model.state_dict().items()}
    batch = Sampler(ClipStore(shards, "train", 1.0), config.data, config.stages[0], 0).batch(0)
    values = run.learn([batch])
    assert np.isfinite(list(values.values())).all() and values["contrastive"] > 0
    assert ("audio_mse" in values) == (name != "single-pass")
    moved = {k.split(".")[0] for k, v in run.model.state_dict().items() if not torch.equal(v, before[k])}
    assert moved >= {"visual", "vocal_head", "adapter", "decoder", "identity_proj", "ambient_proj"}
    assert moved >= {"vocal_context", "audio_context"} and ("identity" in values) == (
        name not in ("no-identity", "paper-only")
    )


@pytest.mark.parametrize("view", ["uniform", "face"])
def test_a_single_view_is_what_the_decoder_restores(base: PretrainConfig, shards: Path, view: str) -> None:
    """One pass of the encoder, over pictures without jitter, gives the patches and all three prompts."""
    model_config = replace(base.model, visual=replace(base.model.visual, bypasses=view))
    run = Run(replace(base, model=model_config), Path(), "cpu")
    batch = Sampler(ClipStore(shards, "train", 1.0), base.data, base.stages[0], 0).batch(0)
    strong = replace(base.augment, photometric=1.0)
    seen = bypass_2(run.model, batch, strong, Noise([0, 1]))
    patches, prompts = run.model.visual(seen.images.flatten(0, 1), seen.keep.flatten(0, 1))
    torch.testing.assert_close(seen.prompts.flatten(0, 1), prompts)
    calls: list[int] = []
    run.model.visual.register_forward_hook(lambda *_: calls.append(1))
    pretraining_losses(Step(run.model, batch, run.stage, strong, base.loss, Noise([0, 1])))
    assert len(calls) == 1
    mask = base.model.visual.mask_ratio if view == "uniform" else base.model.visual.face_mask_ratio
    assert seen.keep.shape[-1] == round(run.model.visual.patches * (1 - mask))


def test_half_the_sampling_rate_keeps_places_and_drops_what_would_fold() -> None:
    time = torch.arange(6400) / 16000
    low, high = torch.sin(2 * np.pi * 1000 * time), torch.sin(2 * np.pi * 7000 * time)
    halved = halve(torch.stack([low, high]))
    assert halved.shape == (2, 3200)
    torch.testing.assert_close(halved[0, 100:-100], low[::2][100:-100], atol=2e-3, rtol=0)
    assert halved[1, 100:-100].abs().max() < 2e-3


@pytest.mark.parametrize("align", ["features", "waveform"])
def test_a_speech_encoder_gives_a_row_a_frame_either_way(align: str) -> None:
    """A click in the middle of frame 20 of silence moves the rows around it most."""
    encoder = {"conv_dim": [16] * 7, "num_attention_heads": 1, "num_conv_pos_embeddings": 4}
    torch.manual_seed(0)
    network = SpeechEncoder(AudioConfig(front_end="wav2vec2", width=32, depth=2, encoder=encoder, align=align))
    noise = torch.randn(1, 40 * 640, generator=torch.Generator().manual_seed(1)) * 0.1
    click = noise.clone()
    click[:, 20 * 640 + 320] += 0.5
    with torch.inference_mode():
        rows, clicked = network(noise), network(click)
    assert [row.shape for row in rows] == [(1, 40, 32)] * 2
    assert (rows[0] - clicked[0]).abs().sum(-1)[0].argmax() in (19, 20, 21)


def test_the_grid_runs_once_and_goes_on(base: PretrainConfig, shards: Path, tmp_path: Path) -> None:
    config = tmp_path / "grid.yaml"
    config.write_text(yaml.safe_dump({**SETTINGS, "stages": [STAGE], "validate_every": 1}))
    arguments = ["--config", str(config), "--data", str(shards), "--out", str(tmp_path / "grid")]
    assert ablate.main([*arguments, "--only", "ours", "A3", "--seeds", "0"]) == 0
    done = tmp_path / "grid" / "A3" / "seed-0" / "result.json"
    changed = json.loads(done.read_text())
    changed["figures"]["val/trusted"]["acc@1"] = 90.0
    done.write_text(json.dumps(changed))
    assert ablate.main([*arguments, "--only", "A3", "--seeds", "0", "1"]) == 0
    written = json.loads((tmp_path / "grid" / "report.json").read_text())["tables"]["val/trusted"]
    (row,) = (row for row in written if row["variant"].startswith("A3"))
    other = json.loads((tmp_path / "grid" / "A3" / "seed-1" / "result.json").read_text())
    second = other["figures"]["val/trusted"]["acc@1"]
    assert row["seeds"] == 2 and row["acc@1"] == f"{(90 + second) / 2:.1f} ±{abs(90 - second) / 2:.1f}"
    assert row["paper acc@1"] == 49.62
    assert (tmp_path / "grid" / "curves-val-trusted.png").stat().st_size > 1000


def test_the_table_has_a_row_a_variant() -> None:
    figures = {"acc@1": 10.0, "acc@5": 20.0, "acc@15": 30.0, "r@1": 5.0}
    rows = table({"ours": [{"figures": {"g": figures}}], "no-shuffle": [{"figures": {"g": figures}}]}, "g")
    assert [row["paper r@1"] for row in rows] == [40.18, None]


def test_settings_are_checked(tmp_path: Path) -> None:
    for changes, words in (
        ({"model": {"visual": {"bypasses": "three"}}}, r"model.visual.bypasses is 'three'"),
        ({"model": {"audio": {"align": "both"}}}, r"model.audio.align is 'both'; expected one of features, waveform"),
        ({"loss": {"passes": []}}, r"loss.passes is \[\]"),
    ):
        path = tmp_path / "c.yaml"
        path.write_text(yaml.safe_dump(changes))
        with pytest.raises(SyncLipError, match=words):
            load_config(path)
