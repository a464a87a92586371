"""The rendered head: its mouth follows the phonemes, and the bundled clip shows what its timing file says."""

import json

import numpy as np
import pytest

from synclip_core.demo import CLIP, PHONEMES
from synclip_core.demo.head import HeadRenderer, Pose
from synclip_core.demo.identity import make_identity
from synclip_core.demo.motion import pose_track
from synclip_core.demo.mouth import MouthShape
from synclip_core.demo.visemes import Phoneme, closures, frame_times, mouth_track
from synclip_core.media.audio import read_audio
from synclip_core.media.info import probe


def words(*timed):
    """Phonemes from (name, duration) pairs."""
    found, now = [], 0.0
    for name, length in timed:
        found.append(Phoneme(name, now, now + length))
        now += length
    return found


def test_lips_meet_for_m_and_part_for_a():
    spoken = words(("_", 0.3), ("m", 0.1), ("A:", 0.25), ("b", 0.08), ("i:", 0.2), ("_", 0.3))
    track = mouth_track(spoken, np.array([0.35, 0.52, 0.68, 0.82]))
    m, a, b, i = (shape.opening for shape in track)
    assert m == 0 and b == 0 and a > 0.06 > i > 0.005
    assert track[0].press > 0.3 and track[1].press == 0


def test_lips_round_before_u_and_spread_for_i():
    spoken = words(("_", 0.3), ("t", 0.08), ("u:", 0.25), ("_", 0.2), ("i:", 0.25), ("_", 0.2))
    before, u, i = mouth_track(spoken, np.array([0.34, 0.5, 0.95]))
    assert u.rounding > 0.6 and i.spread > 0.5 and i.rounding < 0.1
    assert before.rounding > 0.2  # the t before it is rounded already


def test_closure_of_p_precedes_its_burst():
    ((start, end),) = closures([Phoneme("p", 1.0, 1.05)])
    assert start == pytest.approx(0.93) and 1.0 <= end < 1.01


def test_speech_times_are_those_of_the_clip():
    """Where the timing file has a pause the sound is silent, and speech begins when it says."""
    facts = json.loads(PHONEMES.read_text())
    spoken = [Phoneme(**p) for p in facts["phonemes"]]
    sound = read_audio(CLIP)
    assert len(sound) == probe(CLIP).frames * 640

    def level(start, end):
        part = sound[int(start * 16000) : int(end * 16000)]
        return float(np.sqrt(np.mean(part**2)))

    vowels = [level(p.start_s, p.end_s) for p in spoken if p.name[0] in "aAOoiu"]
    pauses = [level(p.start_s + 0.02, p.end_s - 0.02) for p in spoken if p.name == "_:" and p.end_s - p.start_s > 0.1]
    assert len(vowels) > 20 and len(pauses) >= 3
    assert max(pauses) < 0.1 * np.median(vowels)
    first = spoken[0].start_s
    assert level(0, first - 0.01) < 0.01 * level(first, first + 0.08)


def test_bundled_clip_shows_the_track():
    """The drawn mouth of the committed clip opens and shuts with the track of its timing file, frame by frame."""
    from synclip_core.media.video import iter_ticks

    facts = json.loads(PHONEMES.read_text())
    info = probe(CLIP)
    assert CLIP.stat().st_size < 1_000_000 and info.fps == 25 and (info.width, info.height) == (320, 320)
    times = frame_times(info.frames, 25)
    opening = np.array([m.opening for m in mouth_track([Phoneme(**p) for p in facts["phonemes"]], times)])
    poses = pose_track(times, facts["seed"])
    # An open mouth is dark or toothy where lips were: the spread of brightness down its middle grows.
    seen = []
    for k, frame in iter_ticks(CLIP):
        scale = 320 / 1.75
        x = int(160 + (poses[k].shift_x + 0.18 * poses[k].yaw) * scale)
        y = int(320 * 0.30 + (0.70 + poses[k].shift_y) * scale)
        patch = frame.image[y - 14 : y + 18, x - 4 : x + 4].astype(float)
        seen.append(patch.mean(1).std())
    best = max(range(-6, 7), key=lambda lag: np.corrcoef(np.roll(seen, -lag)[10:-10], opening[10:-10])[0, 1])
    assert best == 0


def test_the_mouth_is_what_changes():
    renderer = HeadRenderer(make_identity(3), size=192, samples=1)
    shut, still = renderer.render(MouthShape(), Pose()), renderer.render(MouthShape(), Pose())
    wide = renderer.render(MouthShape(opening=0.1), Pose())
    assert np.array_equal(shut, still)
    change = np.abs(wide.astype(int) - shut).sum(-1)
    rows = np.nonzero(change.max(1) > 30)[0]
    y_of = lambda y: (y + 1.75 * 0.30) / 1.75 * 192  # noqa: E731
    assert y_of(0.55) < rows.min() and rows.max() < y_of(1.1)  # from under the nose down to the chin
    inside = np.s_[round(y_of(0.712)) : round(y_of(0.742)), 92:100]
    assert wide[inside].mean() < 0.5 * shut[inside].mean()  # below the teeth it is dark


def test_blinks_close_the_eyes():
    renderer = HeadRenderer(make_identity(3), size=96, samples=1)
    awake, asleep = renderer.render(MouthShape(), Pose()), renderer.render(MouthShape(), Pose(lids=0))
    change = np.abs(awake.astype(int) - asleep).sum(-1).max(1)
    top = np.nonzero(change > 60)[0] / 96 * 1.75 - 1.75 * 0.30
    assert 0.26 < top.min() and top.max() < 0.40
    lids = np.array([p.lids for p in pose_track(np.arange(500) / 25, 0)])
    assert (lids < 0.3).sum() >= 3 and (lids == 1).mean() > 0.8


def test_seeds_give_different_people_and_the_same_ones_again():
    def face(seed):
        return HeadRenderer(make_identity(seed), size=64, samples=1).render(MouthShape(), Pose()).astype(int)

    assert np.array_equal(face(4), face(4))
    assert np.abs(face(4) - face(5)).mean() > 10


def test_the_clip_renders_again(tmp_path):
    """The program that made the bundled clip: sound and picture of a new, short clip lie where its timing says."""
    pytest.importorskip("ctypes")
    from synclip_core.errors import SyncLipError
    from train.render_demo.program import render_clip

    try:
        facts = render_clip(tmp_path / "clip.mp4", text="Mama.", size=64)
    except SyncLipError as error:
        pytest.skip(str(error))
    names = [p["name"] for p in facts["phonemes"]]
    assert names[0] == "m" and facts["phonemes"][0]["start_s"] == pytest.approx(0.4, abs=0.01)
    sound = read_audio(tmp_path / "clip.mp4")
    loud = np.nonzero(np.abs(sound) > 0.02)[0][0] / 16000
    assert loud == pytest.approx(0.4, abs=0.04)
    assert probe(tmp_path / "clip.mp4").width == 64
