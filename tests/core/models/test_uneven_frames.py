"""A model whose image_size is not square, as the paper's is, sees in inference what it saw in training."""

import importlib
import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from comfy_common import ROOT

import synclip_core.pipeline.seeing as module
from synclip_core.checkpoint import save_checkpoint
from synclip_core.cli import main
from synclip_core.demo import CLIP
from synclip_core.faces.crop import model_frames
from synclip_core.faces.geometry import TEMPLATE_REGIONS
from synclip_core.models.config import VisualConfig, tiny
from synclip_core.models.synclipmae import SyncLipMAE
from synclip_core.models.visual_encoder import VOCAL
from synclip_core.pipeline import SyncPipeline
from synclip_core.tokens.streams import TokenStreams
from synclip_core.tokens.token_file import read_tokens
from train.attributes.features import video_arrays
from train.data import augment
from train.data.clip import Clip
from train.data.noise import Noise
from train.data.shards import decode_sample, encode_sample
from train.prepare import videos as prepare
from train.pretrain.prompts import PLAIN, clip_prompts

SIZE, SIDE = (112, 84), 112  # 4 : 3 as the paper's 1024 x 768, of as many pixels as a shard has of a face
SAME = 2e-5  # of prompts, whose norm is about 5: float32 in another order
ROW = {"file": CLIP.name, "split": "train", "sync": "trusted", "source": "demo", "subject": "head"}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    visual = VisualConfig(image_size=SIZE, patch_size=14, width=32, depth=2, heads=2)
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("uneven") / "uneven.safetensors"
    save_checkpoint(path, SyncLipMAE(replace(tiny(), visual=visual)), {})
    return path


@pytest.fixture(scope="module")
def pipeline(checkpoint: Path) -> SyncPipeline:
    return SyncPipeline(checkpoint)


@pytest.fixture(scope="module")
def crops(pipeline: SyncPipeline) -> list[np.ndarray]:
    """Face squares of the demo clip, chunk by chunk, filled by `streams`."""
    return []


@pytest.fixture(scope="module")
def streams(pipeline: SyncPipeline, crops: list[np.ndarray]) -> TokenStreams:
    return pipeline.tokens(CLIP, watch=lambda chunk: crops.append(chunk.crops))


@pytest.fixture(scope="module")
def training_clips() -> list[Clip]:
    """The samples that train.prepare makes of the demo clip, before H.264."""
    return prepare.video_samples(CLIP.parent, ROW)


def trained_prompts(pipeline: SyncPipeline, clip: Clip) -> np.ndarray:
    return clip_prompts(pipeline.model, clip, PLAIN, Noise([0])).numpy()


def place(clip: Clip) -> slice:
    first = round(clip.meta["start_s"] * 25)
    return slice(first, first + len(clip))


# ---- the one function -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(64, 48), (48, 64), (224, 168), (32, 32)])
@pytest.mark.parametrize("margin", [0.0, 1 / 14])
def test_frames_show_the_whole_square_and_nothing_else(size: tuple[int, int], margin: float) -> None:
    """Red tells x and green tells y of the canonical square: both run over the whole frame, whatever its shape."""
    places = (np.arange(128) + 0.5) / 128 * (1 + 2 * margin) - margin
    crop = np.zeros((1, 128, 128, 3), np.uint8)
    crop[0, ..., 0], crop[0, ..., 1] = 60 + 130 * places[None], 60 + 130 * places[:, None]
    (frame,) = model_frames(torch.from_numpy(crop), size, margin) * 255
    x, y = ((np.arange(side) + 0.5) / side for side in size[::-1])
    np.testing.assert_allclose(frame[0], np.broadcast_to(60 + 130 * x, size), atol=1.3)
    np.testing.assert_allclose(frame[1], np.broadcast_to((60 + 130 * y)[:, None], size), atol=1.3)


@pytest.mark.parametrize("size", [(64, 48), (48, 64), (112, 112)])
def test_a_shard_and_a_crop_of_its_face_give_the_same_frame(size: tuple[int, int]) -> None:
    """Training cuts the margin off as it stretches; inference has none."""
    crops = np.random.default_rng(0).integers(0, 255, (2, 3, 128, 128, 3), dtype=np.uint8)
    points, boxes = torch.zeros(2, 3, 60, 2), torch.zeros(2, 3, 5, 4)
    trained, *_ = augment.geometric(torch.from_numpy(crops), points, boxes, 1 / 14, size, 0.0, Noise([0, 1]))
    face = np.ascontiguousarray(crops[:, :, 8:120, 8:120]).reshape(6, 112, 112, 3)
    torch.testing.assert_close(model_frames(torch.from_numpy(face), size), trained.flatten(0, 1), atol=5e-5, rtol=0)


def test_a_square_model_reads_its_crops_as_they_are() -> None:
    """Not a bit of the bundled model's tokens may depend on the shapes that other models have."""
    pipeline = SyncPipeline()
    crops = np.random.default_rng(0).integers(0, 255, (5, 112, 112, 3), dtype=np.uint8)
    with torch.inference_mode():
        want = pipeline.model.prompts(torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255).numpy()
    assert pipeline.options.crop_size == 112
    np.testing.assert_array_equal(pipeline.encode_crops(crops), want)


# ---- a checkpoint, from the file to the tokens ----------------------------------------------------------------------


def test_tokens_are_those_of_training(
    pipeline: SyncPipeline, streams: TokenStreams, training_clips: list[Clip]
) -> None:
    assert sum(len(clip) for clip in training_clips) > 0.9 * len(streams.valid)
    for clip in training_clips:
        own = streams.prompts[place(clip)]
        np.testing.assert_allclose(own, trained_prompts(pipeline, clip), atol=SAME)
        assert own.std(0).max() > 100 * SAME  # a prompt that is blind to the picture would agree as well


def test_parts_of_a_real_face_are_where_they_usually_are(training_clips: list[Clip]) -> None:
    for clip in training_clips:
        regions = decode_sample(clip.key, encode_sample(clip)).regions()
        np.testing.assert_allclose(np.median(regions, 0), TEMPLATE_REGIONS, atol=0.08)
        assert np.ptp(regions[:, 3, 3]) > 0.005  # the mouth moves, and its box with it


def test_tokens_are_near_those_of_compressed_shards(
    pipeline: SyncPipeline, streams: TokenStreams, training_clips: list[Clip]
) -> None:
    """H.264 changes them, but far less than another shape of the face would (the middle of the square instead of all
    of it)."""
    for clip in training_clips:
        clip = decode_sample(clip.key, encode_sample(clip))
        own, trained = streams.prompts[place(clip)], trained_prompts(pipeline, clip)
        images = model_frames(torch.from_numpy(clip.crops), (SIDE, SIDE), clip.margin)[..., 14:98]
        with torch.inference_mode():
            cut = pipeline.model.prompts(images)[:, VOCAL].numpy()
        error, other = (np.linalg.norm(x - own, axis=1).mean() for x in (trained, cut))
        assert error < 0.02 * np.linalg.norm(own, axis=1).mean() and error < other / 3


def test_a_stream_gives_what_the_whole_clip_gives(
    pipeline: SyncPipeline, streams: TokenStreams, crops: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    short = SyncPipeline(pipeline.checkpoint)
    short.options = replace(short.options, chunk=7)
    chunked = short.tokens(CLIP)
    for name in ("prompts", "vocal", "identity", "ambient", "audio"):
        np.testing.assert_allclose(getattr(chunked, name), getattr(streams, name), atol=SAME, err_msg=name)
    whole = np.concatenate(crops)
    assert whole.shape == (int(streams.valid.sum()), SIDE, SIDE, 3)  # squares: what is shown of a face is not stretched
    prompts = pipeline.encode_crops(whole)
    with monkeypatch.context() as patch:
        patch.setattr(module, "BLOCK_PIXELS", 10 * SIZE[0] * SIZE[1])
        np.testing.assert_allclose(pipeline.encode_crops(whole[:47]), prompts[:47], atol=SAME)
    np.testing.assert_allclose(prompts[:, VOCAL], streams.prompts[streams.valid], atol=SAME)
    found = pipeline.face_tokens(prompts, np.ones(len(prompts), bool))
    for name, tokens in zip(("vocal", "identity", "ambient"), found, strict=True):
        np.testing.assert_allclose(tokens, getattr(streams, name)[streams.valid], atol=SAME, err_msg=name)


def test_nodes_give_the_same_tokens(
    pipeline: SyncPipeline, streams: TokenStreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From crops of any size and margin, as Track Faces may have cut them."""
    for name in ("comfy", "comfy.model_management", "comfy.utils"):
        monkeypatch.setitem(sys.modules, name, MagicMock())
    spec = importlib.util.spec_from_file_location("uneven_pack", ROOT / "__init__.py")
    pack = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "uneven_pack", pack)
    spec.loader.exec_module(pack)
    tracking, visual = (
        importlib.import_module(f"uneven_pack.nodes.{part}") for part in ("faces.tracking", "tokens.visual")
    )
    try:
        for size, margin, alike in ((SIDE, 0.0, 1 - 1e-5), (160, 0.25, 0.98)):
            faces, _ = tracking.track_file(CLIP, "auto", "hold", size, margin, "cpu")
            vocal, identity, _ = visual.encode(pipeline, faces, "x")
            np.testing.assert_array_equal(vocal.mask, streams.valid)
            assert (vocal.values * streams.vocal).sum(1)[streams.valid].mean() > alike
            assert np.abs(identity.values - streams.identity).max() < (SAME if size == SIDE else 0.1)
    finally:
        for loaded in [key for key in sys.modules if key.startswith("uneven_pack.")]:
            del sys.modules[loaded]


def test_programs_take_the_checkpoint(
    checkpoint: Path, pipeline: SyncPipeline, streams: TokenStreams, tmp_path: Path
) -> None:
    """The command line, the features of attribute heads and factor checks, and the faces shown to the user."""
    out = tmp_path / "tokens.safetensors"
    assert main(["tokens", str(CLIP), "--model", str(checkpoint), "--out", str(out)]) == 0
    np.testing.assert_allclose(read_tokens(out).arrays["vocal"], streams.vocal, atol=SAME)
    arrays, faces = video_arrays(pipeline, CLIP)
    assert faces == 1 and arrays["pixels"].shape == (len(streams.valid), 256)
    np.testing.assert_allclose(arrays["identity"], streams.identity, atol=SAME)
    (face,) = pipeline.speakers(CLIP)
    assert face.picture.shape == (SIDE, SIDE, 3)
