"""A dub of any length: which ticks are made together, what goes in and comes back, what a cut job takes up again."""

from fractions import Fraction

import numpy as np
import pytest
from media_clips import clicks, write_clip

from synclip_core import demo
from synclip_core.dubbing.face import MARGIN, FacePath, follow_face
from synclip_core.dubbing.finish import ease_join, match_colours, paste_masks
from synclip_core.dubbing.job import DubOptions, Work, dub
from synclip_core.dubbing.parts import Part, parts_of
from synclip_core.dubbing.store import PartStore
from synclip_core.dubbing.vace import edit_mask
from synclip_core.errors import SyncLipError
from synclip_core.faces import geometry
from synclip_core.faces.masks import JAW, UNDER_NOSE
from synclip_core.media.audio import NativeAudio, iter_native
from synclip_core.media.video import iter_frames, iter_ticks

SIZE = 64
PLACE = np.array([[40, 0, 12], [0, 40, 4]], np.float32)  # of the canonical square in pictures of 64 x 48


def face_of(path, gone=()):
    """A face that stands still in every tick but those gone."""
    reader = iter_ticks(path)
    count = sum(1 for _ in reader)
    points = np.full((468, 2), 0.5)
    outline = np.linspace(0, np.pi, len(JAW))
    points[list(JAW)] = np.stack([0.5 - 0.4 * np.cos(outline), 0.6 + 0.3 * np.sin(outline)], 1)
    points[list(UNDER_NOSE)] = [(0.6, 0.56), (0.5, 0.56), (0.4, 0.56)]
    track = np.zeros(count, np.int64)
    track[list(gone)] = -1
    return FacePath(
        track=track,
        seen=track == 0,
        transforms=np.repeat(PLACE[None], count, 0),
        landmarks=np.repeat(geometry.apply(PLACE, points).astype(np.float32)[None], count, 0),
        shown=reader.map.frames,
        ticks=reader.map.ticks,
        pictures={0: np.zeros((SIZE, SIZE, 3), np.uint8)},
        size=SIZE,
        margin=MARGIN,
        height=48,
        width=64,
        warnings=[],
    )


class Paint:
    """Fills the hole with a grey that tells the tick, and remembers what it was given."""

    def __init__(self):
        self.calls = []

    def __call__(self, crops, part, identity, history):
        self.calls.append((part, None if history is None else int(history[40, 32, 0])))
        made = crops.copy()
        for k in range(part.frames):
            made[k][edit_mask(SIZE, MARGIN).numpy() > 0] = shade(part.first + k)
        return made


def shade(tick):
    return 40 + 2 * (tick % 100)


def numbered(path, frames, fps=25):
    return write_clip(path, frames=frames, fps=fps)


@pytest.mark.parametrize("frames", [1, 16, 17, 18, 61, 62, 63, 64, 300])
def test_parts_cover_every_tick_once_and_begin_anew_after_a_gap(frames):
    parts = parts_of(np.zeros(frames, np.int64))
    assert [tick for part in parts for tick in range(part.first, part.end)] == list(range(frames))
    assert all(part.frames == 17 for part in parts[:-1]) and [p.continues for p in parts] == [False] + [True] * (
        len(parts) - 1
    )


def test_parts_of_faces_that_come_and_go():
    track = np.array([-1] * 3 + [4] * 20 + [-1] * 2 + [4] * 5 + [7] * 18)
    assert parts_of(track) == [
        Part(3, 17, False, 4),
        Part(20, 3, True, 4),
        Part(25, 5, False, 4),
        Part(30, 17, False, 7),
        Part(47, 1, True, 7),
    ]
    assert parts_of(np.full(9, -1)) == []


@pytest.mark.parametrize(
    ("frames", "fps"),
    [(61, 25), (62, 25), (63, 25), (64, 25), (50, 24), (73, Fraction(30000, 1001)), (130, 60), (9, 5)],
)
def test_as_many_frames_out_as_in_each_with_its_own_tick(tmp_path, frames, fps):
    source = numbered(tmp_path / "in.mp4", frames, fps)
    face, paint = face_of(source), Paint()
    work = Work(face, parts_of(face.track), paint, DubOptions(match=False), None)
    out, most = [], 0
    for frame in iter_frames(source):
        out += [image for _, image in work.take(frame)]
        most = max(most, len(work.waiting))
    before = [frame.image for frame in iter_frames(source)]
    assert len(out) == frames and not work.waiting and most <= 20 * max(1, float(fps) / 25) + 2
    mask = paste_masks(face.landmarks[:1], face.transforms[:1], SIZE, MARGIN)[0]
    assert mask.max() > 0.99 and (mask[edit_mask(SIZE, MARGIN).numpy() == 0] == 0).all()
    for k, (was, now) in enumerate(zip(before, out, strict=True)):
        changed = (was != now).any(-1)
        assert not changed[:20].any()  # above the hole, bit for bit
        assert abs(int(now[32, 32, 0]) - shade(face.ticks[k])) <= 1
    given = [history for _, history in paint.calls]
    assert given[0] is None
    assert all(h == shade(part.first - 1) for (part, h) in paint.calls[1:])


def test_frames_without_a_face_pass_through(tmp_path):
    source = numbered(tmp_path / "in.mp4", 60)
    face, paint = face_of(source, gone=range(20, 31)), Paint()
    assert len(dub(source, tmp_path / "out.mp4", face, paint, DubOptions(crf=0, match=False))) == 4
    before, after = ([f.image for f in iter_frames(tmp_path / name)] for name in ("in.mp4", "out.mp4"))
    assert len(after) == 60
    changed = [abs(int(a[32, 32, 0]) - int(b[32, 32, 0])) > 3 for a, b in zip(before, after, strict=True)]
    assert not any(changed[20:31]) and np.mean(changed) > 0.6
    assert paint.calls[2][1] is None  # the first part after the gap
    with pytest.raises(SyncLipError, match="no face was found"):
        dub(source, tmp_path / "none.mp4", face_of(source, gone=range(60)), Paint())
    assert not (tmp_path / "none.mp4").exists()


def test_the_sound_is_the_users_with_its_rate_and_channels(tmp_path):
    source = numbered(tmp_path / "in.mp4", 50)
    sound = NativeAudio(clicks([0.5, 1.5], 2.0, 44100, 2), 44100, "stereo")
    dub(source, tmp_path / "out.mp4", face_of(source), Paint(), DubOptions(audio=sound))
    heard = iter_native(tmp_path / "out.mp4")
    assert (heard.rate, heard.layout) == (44100, "stereo")
    samples = np.concatenate(list(heard), 1)
    assert abs(int(np.abs(samples[0, :44100]).argmax()) - 22050) < 60


def test_a_cut_job_goes_on_and_changed_inputs_begin_anew(tmp_path):
    source = numbered(tmp_path / "in.mp4", 64)
    face, whole = face_of(source), Paint()
    dub(source, tmp_path / "whole.mp4", face, whole)

    class Cut(Paint):
        def __call__(self, *given):
            if len(self.calls) == 2:
                raise KeyboardInterrupt
            return super().__call__(*given)

    jobs = tmp_path / "jobs"
    with pytest.raises(KeyboardInterrupt):
        dub(source, tmp_path / "out.mp4", face, Cut(), store=PartStore(jobs, {"seed": 1}))
    assert not (tmp_path / "out.mp4").exists()
    kept = sorted((jobs).rglob("*.safetensors"))
    assert len(kept) == 2
    kept[1].write_bytes(b"damaged")
    rest = Paint()
    dub(source, tmp_path / "out.mp4", face, rest, store=PartStore(jobs, {"seed": 1}))
    assert [part.first for part, _ in rest.calls] == [17, 34, 51] and rest.calls[0][1] == shade(16)
    frames = [[f.image for f in iter_frames(tmp_path / name)] for name in ("whole.mp4", "out.mp4")]
    assert all(np.array_equal(a, b) for a, b in zip(*frames, strict=True))
    assert not list(jobs.rglob("*.safetensors"))  # a finished job leaves nothing
    with pytest.raises(KeyboardInterrupt):
        dub(source, tmp_path / "out.mp4", face, Cut(), store=PartStore(jobs, {"seed": 1}))
    other = Paint()
    dub(source, tmp_path / "out.mp4", face, other, store=PartStore(jobs, {"seed": 2}))
    assert len(other.calls) == 4


def test_colours_come_back_to_the_sources():
    random = np.random.default_rng(0)
    source = random.integers(60, 180, (3, SIZE, SIZE, 3)).astype(np.uint8)
    drifted = np.clip(source * np.array([0.9, 1.1, 1.0]) + (8, -6, 3), 0, 255).astype(np.uint8)
    back = match_colours(drifted, source, MARGIN)
    assert np.abs(back.astype(int) - source).mean() < 1.0 < np.abs(drifted.astype(int) - source).mean()
    flat = np.full_like(source, 90)  # nothing to scale by: shifted only
    assert np.array_equal(match_colours(flat, flat + 5, MARGIN), flat + 5)


def test_a_join_is_spread_over_frames(tmp_path):
    made = np.full((5, SIZE, SIZE, 3), 100, np.uint8)
    assert ease_join(made, np.full_like(made[0], 70))[:, 0, 0, 0].tolist() == [80, 90, 100, 100, 100]
    assert ease_join(made[:1], np.full_like(made[0], 70))[:, 0, 0, 0].tolist() == [80]

    class Jumps(Paint):
        def __call__(self, crops, part, identity, history):
            super().__call__(crops, part, identity, history)
            return np.full_like(crops, 60 + 90 * (part.first % 2))  # 17 is odd: every join is a jump of 90

    source = numbered(tmp_path / "in.mp4", 51)
    face = face_of(source)
    work = Work(face, parts_of(face.track), Jumps(), DubOptions(match=False), None)
    out = [int(image[32, 32, 0]) for frame in iter_frames(source) for _, image in work.take(frame)]
    assert np.abs(np.diff(out)).max() <= 31 and out[16] == 60 and out[19] == 150


def test_a_model_that_drifts_begins_anew_now_and_then(tmp_path):
    """After every third part one is made without the reference, and its join is spread over more frames."""

    class Drifts(Paint):
        def __call__(self, crops, part, identity, history):
            super().__call__(crops, part, identity, history)
            return np.full_like(crops, 60 if history is None else int(history[0, 0, 0]) + 30)

    source, paint = numbered(tmp_path / "in.mp4", 102), Drifts()
    face = face_of(source)
    work = Work(face, parts_of(face.track), paint, DubOptions(match=False, refresh=3), None)
    out = [int(image[32, 32, 0]) for frame in iter_frames(source) for _, image in work.take(frame)]
    assert [history is None for _, history in paint.calls] == [True, False, False, True, False, False]
    assert out[50] == 120 and out[57] == 60 and np.abs(np.diff(out)).max() <= 11


def test_a_real_face_is_followed_and_only_its_lower_half_changes(tmp_path):
    face = follow_face(demo.CLIP, 96)
    assert len(face) == len(face.ticks) and face.seen.mean() > 0.95 and list(face.pictures) == [0]
    parts = parts_of(face.track)
    work = Work(face, parts, lambda crops, *_: np.full_like(crops, 200), DubOptions(match=False), None)
    for frame in iter_frames(demo.CLIP):
        for _, image in work.take(frame):
            last = image
        if frame.index == 40:
            break
    eyes = face.landmarks[30][[33, 263]].astype(int)
    lips = face.landmarks[30][[13, 14]].mean(0).astype(int)
    assert np.abs(last[lips[1], lips[0]].astype(int) - 200).max() < 8
    assert all(np.abs(last[y, x].astype(int) - 200).max() > 20 for x, y in eyes)
