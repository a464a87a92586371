"""Losses on the decoded picture: each says what its paper says, and the mouth of another moment costs more."""

from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("diffusers", reason="dubbing models need diffusers: pip install .[dubbing]")
from synclip_core.checkpoint import load_checkpoint  # noqa: E402
from synclip_core.demo import CLIP  # noqa: E402
from synclip_core.dubbing.face import MARGIN, follow_face  # noqa: E402
from synclip_core.dubbing.vace import edit_mask  # noqa: E402
from synclip_core.errors import SyncLipError  # noqa: E402
from synclip_core.faces.crop import crop_face  # noqa: E402
from synclip_core.media.audio import read_audio  # noqa: E402
from synclip_core.media.video import iter_ticks  # noqa: E402
from synclip_core.reading.network import LipReader, VsrConfig, hybrid_loss  # noqa: E402
from train.data.clip import Clip  # noqa: E402
from train.dubbing.config import DubbingConfig, DubDataConfig, DubLossConfig  # noqa: E402
from train.dubbing.supervision import Supervisor, contrastive, margin, open_supervisor  # noqa: E402
from train.dubbing.tokens import clip_tokens  # noqa: E402
from train.dubbing.windows import Cut, Windows  # noqa: E402

SIZE, FRAMES = 128, 75
CONFIG = DubbingConfig(data=DubDataConfig(size=SIZE, frames=9))
ALL = DubLossConfig(reconstruction=1, sync=1, contrastive=1, margin=1, lip_reading=1, temperature=1.0)


class Frames:
    """Stands for a video VAE: its latents are the frames."""

    def decode(self, latents):
        return latents


class Store(dict):
    meta = {key: {"frames": FRAMES, "source": "made", "sync": "trusted", "file": f"{key}.mp4"} for key in ("a", "b")}


@pytest.fixture(scope="module")
def model():
    return load_checkpoint().model


@pytest.fixture(scope="module")
def clip():
    face = follow_face(CLIP, SIZE, MARGIN)
    crops = [crop_face(f.image, face.transforms[t], SIZE, MARGIN) for t, f in iter_ticks(CLIP) if t < FRAMES]
    sound = read_audio(CLIP)[: FRAMES * 640]
    shape = np.zeros((FRAMES, 60, 2), np.float32)
    return Clip("a", np.stack(crops), shape, face.seen[:FRAMES], sound, MARGIN, {"offset": 0})


@pytest.fixture(scope="module")
def tokens(model, clip):
    held = clip_tokens(model, clip)
    return {"a": held, "b": held}


@pytest.fixture(scope="module")
def windows(clip, tokens):
    return Windows(Store(a=clip, b=clip), tokens, CONFIG, reach=2)


def frames_of(clip, cuts):
    return torch.stack([torch.from_numpy(clip.crops[c.first : c.first + 9]).float() / 255 for c in cuts])


def test_tokens_of_the_dub_are_those_of_inference(model, clip, tokens):
    judge = Supervisor(ALL, Frames(), model, tokens)
    cut = Cut("a", 30, 0, "audio")
    with torch.no_grad():
        made = judge.clip_tokens(cut, judge.prompts(frames_of(clip, [cut]), MARGIN, [cut])[0])
    assert (made * tokens["a"].vocal.float()).sum(-1).min() > 0.999


def test_a_mouth_of_another_moment_costs_more_and_the_gradient_tells(model, clip, tokens, windows):
    reader = LipReader(VsrConfig(dim=128, width=32, heads=2, layers=1, decoder_layers=1)).eval()
    text = torch.tensor([3, 1, 4])
    judge = Supervisor(ALL, Frames(), model, tokens, reader, {"a": text})
    cuts = [Cut("a", 20, 0, "audio"), Cut("b", 45, 0, "vocal")]
    batch, quiet = windows.collect(cuts, history=False), torch.tensor([0.1, 0.5])
    right = judge(frames_of(clip, cuts), quiet, batch)
    moved = frames_of(clip, [replace(cut, first=cut.first - 12) for cut in cuts]).requires_grad_()
    wrong = judge(moved, quiet, batch)
    assert right.keys() == wrong.keys() == set(ALL.names)
    assert float(right["reconstruction"]) < 1e-6
    for name in ("reconstruction", "sync", "contrastive", "margin"):
        assert float(wrong[name]) > float(right[name]) + 1e-3, name
    with torch.no_grad():  # one of two clips has a text
        whole = tokens["a"].vocal.float()[None]
        read, _ = hybrid_loss(reader, whole, tokens["a"].seen[None], [text], ctc_weight=0.0, smoothing=0.0)
    assert float(right["lip_reading"]) == pytest.approx(float(read) / 2, rel=1e-3)
    for name, value in wrong.items():
        (pull,) = torch.autograd.grad(value, moved, retain_graph=True)
        assert torch.isfinite(pull).all() and pull[0].abs().max() > 0, name
        if name == "reconstruction":
            assert (pull[:, :, edit_mask(SIZE, MARGIN) == 0] == 0).all()
    noisy = judge(moved, torch.tensor([0.9, 0.95]), batch)
    assert all(float(value) == 0 for value in noisy.values())


def test_without_tokens_there_is_nothing_to_be_near_to(model, clip, tokens, windows):
    judge = Supervisor(replace(ALL, reconstruction=0, lip_reading=0), Frames(), model, tokens)
    cuts = [Cut("a", 20, 0, "none")]
    told = judge(frames_of(clip, cuts), torch.tensor([0.1]), windows.collect(cuts, history=False))
    assert all(float(value) == 0 for value in told.values()) and len(told) == 3


def test_contrastive_is_the_own_distance_less_the_others():
    seen = torch.tensor([[[0.0], [1.0], [3.0]]])
    driven = torch.tensor([[[0.0], [2.0], [9.0]]])
    both = torch.tensor([[True, True, False]])
    # frame 0: 0 - (1 + 3) / 2; frame 1: 1 - (2 + 1) / 2; frame 2 does not count
    assert contrastive(seen, driven, both, 2.0).tolist() == pytest.approx([2 * (-2.0 - 0.5) / 2])


def test_margin_counts_negatives_beyond_their_margin_only():
    seen = torch.eye(8)[None]
    yes, none = torch.ones(1, 8, dtype=torch.bool), torch.zeros(1, dtype=torch.bool)
    assert float(margin(seen, seen, yes, none, (0.3, 0.7))) == 0  # pairs alike, negatives orthogonal
    same = torch.ones(1, 8, 1)  # all frames alike: the positive costs nothing, each negative -log(1 - 0.7)
    assert float(margin(same, same, yes, none, (0.3, 0.7))) == pytest.approx(-np.log(0.3), rel=1e-4)
    assert float(margin(same, same, yes, ~none, (1.0, 0.7))) == pytest.approx(-np.log(0.7), rel=1e-4)


def test_the_lip_reading_loss_wants_a_reader_and_texts(tmp_path):
    checkpoint = load_checkpoint()
    assert open_supervisor(DubLossConfig(), Frames(), checkpoint, Store(), {}, torch.device("cpu")) is None
    (tmp_path / "t.csv").write_text("file,text\nb.mp4,lay blue\nz.mp4,lay red\n")
    losses = DubLossConfig(lip_reading=1, texts=str(tmp_path / "t.csv"), layout="csv")
    judge = open_supervisor(losses, Frames(), checkpoint, Store(), {}, torch.device("cpu"))
    assert list(judge.texts) == ["b"] and len(judge.texts["b"]) == 8
    (tmp_path / "t.csv").write_text("file,text\nz.mp4,lay red\n")
    with pytest.raises(SyncLipError, match="knows of no clip"):
        open_supervisor(losses, Frames(), checkpoint, Store(), {}, torch.device("cpu"))
