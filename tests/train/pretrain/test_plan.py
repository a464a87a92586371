"""The plan of a run against closed forms, against what torch really keeps and sends, and against real steps."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from synclip_core.errors import SyncLipError
from synclip_core.files.settings import to_dict
from synclip_core.models import config as profiles
from synclip_core.models.config import AudioConfig, DecoderConfig, SyncLipMAEConfig, VisualConfig
from synclip_core.models.layers import Block
from train.data import augment
from train.data.noise import Noise
from train.plan import activations as kept
from train.plan import program
from train.plan.flops import StepFlops, gathered_contrast, meta_run, parameters, random_batch, step_flops
from train.plan.hardware import GPUS, pass_seconds
from train.plan.live import LiveTensors
from train.plan.measure import measure
from train.plan.network import traffic
from train.plan.plan import Plan
from train.plan.states import AUTOCAST, FP32, MIXED, Precision, states
from train.pretrain.config import InitConfig, PretrainConfig, StageConfig, load_config
from train.pretrain.objective import Step, pretraining_losses
from train.pretrain.run import Run, build

CONFIGS = Path(__file__).parents[3] / "train" / "configs"
# 4 x 2 patches, half of them hidden; not square, as Sapiens' input is not
SMALL = SyncLipMAEConfig(
    name="small",
    dim=24,
    visual=VisualConfig((64, 32), width=32, depth=3, heads=2, mask_ratio=0.5, face_mask_ratio=0.5),
    audio=AudioConfig(front_end="mel", width=80, depth=4),
    decoder=DecoderConfig(width=16, depth=2, heads=2),
)
STAGE = StageConfig(clips=3, frames=10, reconstruct=4)
CONFIG = PretrainConfig(model=SMALL, stages=(STAGE,))


@pytest.fixture(scope="module")
def run() -> Run:
    return meta_run(CONFIG)


@pytest.fixture(scope="module")
def flops(run: Run) -> StepFlops:
    return step_flops(run, 0)


def linear_flops(width: int, ratio: float, tokens: int, cross: bool = False) -> int:
    """2 x weights x tokens of a block: q, k, v, projection, MLP; in the decoder one more q and projection."""
    return int(2 * tokens * width * width * (4 + 2 * ratio + 2 * cross))


def test_flops_are_two_a_weight_and_token_and_attention(flops: StepFlops) -> None:
    frames, decoded = 30, 12
    patches, seen, pixels = 8, 4 + 3, 3 * 16 * 16
    block = linear_flops(32, 4, seen) + 4 * seen * seen * 32  # q k' and its product with v
    frame = 3 * block + 2 * pixels * 32 * patches
    assert flops.forward["visual encoder, bypass 2"] == frames * frame
    assert flops.forward["visual encoder, bypass 1"] == decoded * frame
    block = linear_flops(16, 4, patches, cross=True) + 2 * 3 * 16 * 32  # keys and values of three prompts
    block += 4 * patches * patches * 16 + 4 * patches * 3 * 16
    ends = 2 * (4 * 32 * 16 + 3 * 24 * 16 + patches * 16 * pixels)
    assert flops.forward["decoder"] == 2 * decoded * (2 * block + ends)
    assert flops.forward["audio adapter"] == 2 * 320 * 24 * frames
    assert flops.forward["vocal head"] == 2 * 32 * 24 * frames


def test_the_backward_pass_is_two_forward_passes_of_what_learns(flops: StepFlops) -> None:
    """But for inputs without a gradient: pixels and sound (the mel filters are in "rest" and learn nothing)."""
    learned = sum(value for name, value in flops.forward.items() if name != "rest")
    inputs = 2 * 3 * 16 * 16 * 32 * 8 * (30 + 12) + 2 * 320 * 24 * 30
    assert flops.backward == pytest.approx(2 * learned - inputs, rel=0.02)


def test_a_frozen_speech_encoder_runs_forward_only(flops: StepFlops) -> None:
    audio = AudioConfig(
        "wav2vec2", width=16, depth=3, encoder={"conv_dim": [8] * 7, "num_conv_pos_embedding_groups": 2}
    )
    frozen = meta_run(replace(CONFIG, model=replace(SMALL, audio=audio)))
    counted = step_flops(frozen, 0)
    assert counted.forward["audio front end"] > 0.02 * counted.total
    adapters = 2 * 24 * 30 * (48 - 320)  # the only other part that changed: three layers of 16 for 320 mel values
    assert counted.backward - flops.backward == pytest.approx(adapters, abs=1e-3 * flops.backward)
    total, trained = parameters(frozen.model)["audio front end"]
    assert total > 0 and trained == 0


def test_stages_count_what_they_learn() -> None:
    stages = tuple(StageConfig(learn=learn, clips=2, frames=4) for learn in ("vision", "alignment"))
    run = meta_run(replace(CONFIG, model=replace(SMALL, geometry_points=60), stages=stages))
    vision, counts = step_flops(run, 0), parameters(run.model)
    assert vision.forward["visual encoder, bypass 2"] > 0 and "decoder" not in vision.forward
    assert counts["decoder"][1] == 0 < counts["visual encoder"][1]
    alignment, counts = step_flops(run, 1), parameters(run.model)
    assert not {"visual encoder, bypass 2", "decoder"} & set(alignment.forward)
    assert counts["visual encoder"][1] == 0 < counts["vocal head"][1]


@pytest.mark.parametrize("name", ["base", "paper"])
def test_configs_build_and_are_the_profiles(name: str) -> None:
    config = load_config(CONFIGS / f"{name}.yaml")
    profile = profiles.PROFILES[name]()
    resampled = replace(profile.audio, align="waveform")  # section 3.2: the waveform is resampled, not the rows
    visual = replace(profile.visual, face_mask_ratio=0.75)
    assert config.model == replace(profile, audio=resampled, visual=visual)
    assert config.init.audio and config.init.visual
    with torch.device("meta"):
        model = build(replace(config, init=InitConfig()))
    counts = parameters(model)
    visual, decoder = config.model.visual, config.model.decoder
    assert counts["audio front end"] == (94_371_712, 0)  # wav2vec2-base with its mask embedding
    assert counts["audio adapter"][0] == 13 * 768 * config.model.dim + 3 * config.model.dim
    weights = visual.depth * 12 * visual.width**2
    assert counts["visual encoder"][1] == pytest.approx(weights, rel=0.02)
    weights = decoder.depth * 16 * decoder.width**2
    assert counts["decoder"][1] == pytest.approx(weights, rel=0.05)


def test_the_paper_config_is_that_of_section_5() -> None:
    config = load_config(CONFIGS / "paper.yaml")
    (stage,) = config.stages
    assert stage.clips * stage.frames == 48 and stage.steps == 400_000 and stage.reconstruct == stage.frames
    plan = Plan(config, 128, GPUS["a100"], 0, 0.4)
    # 15 days are 3.24 s a step: between a fifth and a half of an A100's peak is what such runs reach
    assert 0.2 < plan.flops(0).total / 3.24 / 312e12 < 0.5
    # 48 clips of 16 frames would be more than the fastest GPU of the table can do in that time
    assert 16 * plan.flops(0).total / 3.24 > GPUS["h100"].peak
    assert plan.recomputes(0) is True
    assert 14 < plan.report()["hours"] / 24 < 16


def test_the_paper_config_has_nothing_of_ours() -> None:
    """What the paper does not speak of is off; what it speaks of is as it says."""
    config = load_config(CONFIGS / "paper.yaml")
    loss, augment = config.loss, config.augment
    assert (loss.same_clip, loss.ignore_neighbours, loss.geometry, config.model.geometry_points) == (0, 0, 0, 0)
    assert (loss.identity_contrast, loss.steadiness, loss.face_weight, loss.decorrelation_memory) == (0, 0, 0, 0)
    assert not config.model.context.depth
    assert (augment.geometric, augment.mel, config.data.speed, config.data.min_offset_confidence) == (0, 0, 0, 0)
    assert (augment.degrade, augment.sound) == (0, 0)
    assert augment.photometric == 1 and loss.passes == ("video", "audio") and loss.gather and loss.shuffle_identity > 0
    assert not config.model.vocal.center and not config.model.vocal.context_depth
    audio = config.model.audio
    assert (audio.align, audio.layers, audio.adapter_depth) == ("waveform", "all", 0)
    # identity is mixed over several takes of one person
    assert config.data.clips_per_subject > 1 and config.stages[0].clips % config.data.clips_per_subject == 0


def flat(data: dict, path: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in data.items():
        name = f"{path}.{key}".strip(".")
        found |= flat(value, name) if isinstance(value, dict) and value else {name: value}
    return found


def test_base_is_the_paper_config_at_another_size() -> None:
    one, other = (flat(to_dict(load_config(CONFIGS / f"{name}.yaml"))) for name in ("paper", "base"))
    apart = {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)}
    sizes = {f"model.visual.{name}" for name in ("image_size", "width", "depth", "heads")} | {"model.dim", "model.name"}
    batch = {"stages", "optim.checkpointing", "loss.decorrelation_memory"}
    assert apart <= sizes | batch | {"init.visual", "validate_every", "checkpoint_every"}


def test_base_fits_one_gpu_of_80_gb() -> None:
    plan = Plan(load_config(CONFIGS / "base.yaml"), 1, GPUS["h100"], 0, 0.4)
    clips = plan.config.stages[0].clips
    assert plan.recomputes(0) is False
    assert clips <= plan.largest(0, 0, False) < 1.2 * clips
    assert plan.memory(0, 0, 1, plan.largest(0, 0, False), False) <= plan.room
    assert plan.memory(0, 0, 1, plan.largest(0, 0, False) + 1, False) > plan.room


def saved_bytes(function, bf16: bool, ignore: torch.nn.Module) -> int:
    """Bytes of distinct tensors that the forward pass keeps, without weights and their bf16 copies."""
    found: dict[int, torch.Tensor] = {}
    weights = {shape for p in ignore.parameters() for shape in (p.shape, p.T.shape if p.ndim == 2 else p.shape)}
    weights = {tuple(shape) for shape in weights}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tuple(tensor.shape) not in weights:
            found[tensor.untyped_storage().data_ptr()] = tensor  # held, so that no address comes twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t), torch.autocast("cpu", torch.bfloat16, bf16):
        result = function()
    size = sum(tensor.untyped_storage().nbytes() for tensor in found.values())
    del result
    return size


@pytest.mark.parametrize("precision", [FP32, AUTOCAST], ids=lambda p: p.name)
@pytest.mark.parametrize("cross", [False, True])
def test_a_block_keeps_what_the_formula_says(precision: Precision, cross: bool) -> None:
    block = Block(64, 4, 4.0, cross=cross)
    x = torch.randn(5, 200, 64, requires_grad=True) * 1.0
    prompts = torch.randn(5, 3, 64) if cross else None
    measured = saved_bytes(lambda: block(x, prompts), precision is AUTOCAST, block)
    assert measured == pytest.approx(1000 * kept.block(64, 4, 4.0, precision, cross), rel=0.03)


def test_a_block_is_that_of_korthikanti() -> None:
    """Equation 1 without dropout masks (2), with fused attention (no 5 a s / h) and the stream in fp32 (+ 2 x 2)."""
    sums = 4 * 16  # of the attention rows, which the paper's kernel does not have
    assert kept.block(1024, 16, 4.0, MIXED) - sums == (34 - 2 + 4) * 1024


@pytest.mark.parametrize("model", [SMALL, profiles.tiny()], ids=["linear stem", "conv stem"])
def test_a_step_keeps_what_the_formula_says(model: SyncLipMAEConfig) -> None:
    config = PretrainConfig(model=replace(model, geometry_points=60))
    stage = StageConfig(clips=2, frames=12, reconstruct=4)
    run = Run(config, Path(), "cpu")
    batch, noise = random_batch(config, stage, "cpu"), Noise(range(2))
    measured = saved_bytes(
        lambda: pretraining_losses(Step(run.model, batch, stage, config.augment, config.loss, noise)), False, run.model
    )
    held = 4 * 3 * model.visual.image_size[0] * model.visual.image_size[1] * 24  # the frames are there, but not saved
    at_work = max(
        24 * kept.encoder(model.visual, model.visual.face_mask_ratio, FP32, False)[1],
        8 * kept.decoder(model, FP32, False)[1],
    )
    expected = kept.activations(config.model, stage, FP32, checkpointing=False) - held - at_work
    assert measured == pytest.approx(expected, rel=0.12)


def test_checkpointing_keeps_the_input_of_each_block() -> None:
    whole, at_work = kept.transformer(10, 12, 64, 4, 4.0, MIXED, checkpointing=False)
    lean, once_more = kept.transformer(10, 12, 64, 4, 4.0, MIXED, checkpointing=True)
    assert lean == 12 * 10 * 64 * 4
    assert once_more - at_work == whole / 12


def test_zero_spreads_what_it_says() -> None:
    """Rajbhandari et al. 2020, figure 1: 7.5 B parameters on 64 GPUs take 120, 31.4, 16.6 and 1.9 GB."""
    for zero, expected in enumerate((120, 31.4, 16.6, 1.9)):
        own = states(7_500_000_000, 7_500_000_000, MIXED, zero, 64)
        assert (own.total - own.average) / 1e9 == pytest.approx(expected, abs=0.06)
    frozen = states(100, 40, FP32, 1, 4)
    assert (frozen.weights, frozen.gradients, frozen.optimizer, frozen.average) == (400, 160, 80, 400)


def test_a_pass_over_the_network_is_a_ring_in_the_node_and_one_between() -> None:
    gpu = GPUS["h100"]
    assert pass_seconds(450e9, 1, gpu) == 0
    assert pass_seconds(450e9, 8, gpu) == pytest.approx(7 / 8)
    assert pass_seconds(450e9, 32, gpu) == pytest.approx(7 / 8 + 9 * 3 / 4)


def test_traffic_by_zero_stage() -> None:
    volumes = []
    for zero in range(4):
        sent = traffic(1000, 1000, SMALL, replace(STAGE, learn="vision"), MIXED, zero, 4, GPUS["h100"])
        volumes.append(sent.total)
        assert sent.tokens == 0
    assert volumes == pytest.approx([2 * 2000 * 3 / 4] * 3 + [3 * 2000 * 3 / 4])
    frozen = traffic(5000, 1000, SMALL, replace(STAGE, learn="vision"), MIXED, 3, 4, GPUS["h100"])
    assert frozen.weights == (5000 + 1000) * 2 * 3 / 4  # frozen weights are gathered once, learned ones twice
    tokens = traffic(0, 0, SMALL, STAGE, MIXED, 0, 4, GPUS["h100"]).tokens
    assert tokens == 3 * 30 * 4 * (2 * 2 * 24 + 320)  # three others; both modalities there and back, the sound there


def test_a_gathered_contrast_grows_with_the_gpus(run: Run) -> None:
    assert gathered_contrast(STAGE, 24, 320, 1) == 0
    # one GPU more: three squares of tokens more, forward and twice backward, and one of sounds
    assert gathered_contrast(STAGE, 24, 320, 2) == 2 * 30 * 30 * (6 * 24 + 320)


def test_scaling_loses_what_the_network_takes() -> None:
    plan = Plan(CONFIG, 128, GPUS["h100"], 0, 0.5)
    rows = {row["gpus"]: row for row in plan.report()["scaling"]}
    one, many = rows[1], rows[128]
    assert one["efficiency"] == one["efficiency_overlapped"] == 1
    assert one["compute_s"] == pytest.approx(plan.flops(0).total / (67e12 * 0.5))  # fp32
    assert many["efficiency"] == pytest.approx(one["compute_s"] / (many["compute_s"] + many["network_s"]))
    assert many["efficiency"] <= many["efficiency_overlapped"] < 1
    assert many["frames_per_second"] == pytest.approx(128 * 30 / many["step_s"])


def test_measured_steps_do_the_planned_work() -> None:
    report = measure(CONFIG, 0, "cpu", 1)
    assert report["flops_per_step_counted"] == pytest.approx(report["flops_per_step_planned"], rel=0.02)
    assert report["flops_per_second"] == pytest.approx(report["flops_per_step_planned"] / report["seconds_per_step"])
    assert report["frames_per_second"] * report["seconds_per_step"] == pytest.approx(30)
    assert report["memory_measured"] == pytest.approx(report["memory_planned"], rel=0.25)


def test_live_tensors_count_what_is_alive_at_once() -> None:
    first = torch.zeros(1000)
    with LiveTensors([first]) as live:
        second = first + 1
        view = second.view(10, 100)[2:]
        third = view * 2
        del second, view, third
        first * 3
    assert live.peak == 4 * (1000 + 1000 + 800)


def test_frames_need_not_be_square() -> None:
    """The paper's encoder takes 1024 x 768: the square face is stretched, its points stay where they are in it."""
    crops = torch.zeros(1, 1, 64, 64, 3, dtype=torch.uint8)
    crops[:, :, 24:40, 24:40] = 255
    points = torch.tensor([0.5, 0.5]).expand(1, 1, 60, 2)
    boxes = torch.tensor([0.25, 0.25, 0.75, 0.5]).expand(1, 1, 5, 4)
    frames, moved, regions = augment.geometric(crops, points, boxes, 0.0, (64, 32), 0.0, Noise([0]))
    assert frames.shape[-2:] == (64, 32)
    assert frames[0, 0, :, 25:39, 13:19].min() == 1 and frames[0, 0, :, 42:].max() == 0 == frames[0, 0, :, :, 22:].max()
    torch.testing.assert_close(moved, points)
    torch.testing.assert_close(regions, boxes)
    for seed in range(8):  # one clip in three is blurred
        jittered = augment.photometric(torch.rand(1, 2, 3, 64, 32), 1.0, Noise([seed]))
        assert jittered.shape[-2:] == (64, 32)


class OneDevice(TorchDispatchMode):
    """What a GPU demands: no operation mixes tensors of two devices, single numbers aside."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor) and leaf.ndim]
        assert len({tensor.device for tensor in tensors}) < 2 or "copy" in str(func), func
        return func(*args, **(kwargs or {}))


def test_the_mel_noise_follows_the_device() -> None:
    """Draws are made on the CPU; one that stays there stops the step of a GPU."""
    with OneDevice():
        noisy = augment.mel(torch.empty(2, 80, 40, device="meta"), 1.0, Noise([0, 1]))
    assert noisy.is_meta


def test_the_program_prints_tables_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = {
        "model": {
            "visual": {"image_size": [32, 32], "width": 16, "depth": 1, "heads": 2},
            "audio": {"width": 80, "depth": 4},
        },
        "stages": [{"clips": 2, "frames": 4, "steps": 3600}],
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    assert program.main(["--config", str(path), "--gpus", "12", "--gpu", "4090"]) == 0
    text = capsys.readouterr().out
    assert "12 x RTX 4090" in text and "Memory of a GPU" in text and "\n    12      2" in text
    assert program.main(["--config", str(path), "--clips", "5", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["stages"][0]["frames_per_gpu"] == 20
    assert report["hours"] == pytest.approx(report["stages"][0]["step_s"])  # 3600 steps
    assert program.main(["--config", str(path), "--measure", "--steps", "1", "--device", "cpu"]) == 0
    assert "frames/s" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--gpus", "0"], "--gpus 0"),
        (["--mfu", "40"], "such as 0.4"),
        (["--stage", "4"], "stages 0 to 2"),
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
    ],
    ids=lambda x: x[0] if isinstance(x, list) else "",
)
def test_wrong_numbers_are_named(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["--config", str(CONFIGS / "tiny.yaml"), *arguments]) == 4
    assert words in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_a_missing_gpu_is_named() -> None:
    with pytest.raises(SyncLipError, match="device 'cuda' cannot be used here"):
        measure(CONFIG, 0, "cuda", 1)
