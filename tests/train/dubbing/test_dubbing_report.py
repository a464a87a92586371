"""The dubbing report, end to end on two short clips with a model that never learned, and its measures by themselves."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("diffusers")

from dubbing_demo import write_demo  # noqa: E402

from synclip_core import demo  # noqa: E402
from synclip_core.dubbing.face import follow_face  # noqa: E402
from synclip_core.dubbing.finish import EASED  # noqa: E402
from synclip_core.dubbing.job import DubOptions, Work  # noqa: E402
from synclip_core.dubbing.parts import parts_of  # noqa: E402
from synclip_core.media.video import iter_frames  # noqa: E402
from synclip_core.media.writer import VideoWriter  # noqa: E402
from train.evaluate import program as evaluate  # noqa: E402
from train.evaluate.dubbing.judge import opening  # noqa: E402
from train.evaluate.dubbing.measure import Change, correlation  # noqa: E402
from train.evaluate.dubbing.pairs import Subject, tokens_of  # noqa: E402

FRAMES = 40


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clips") / "a.mp4"
    images = [frame.image for frame, _ in zip(iter_frames(demo.CLIP), range(FRAMES), strict=False)]
    with VideoWriter(path, *images[0].shape[1::-1], 25, audio_from=demo.CLIP) as writer:
        for image in images:
            writer.write(image)
    return path


@pytest.fixture(scope="module")
def face(clip):
    return follow_face(clip, 64)


def dubbed(clip, face, paint, hurt=False):
    """What Change says of a dub; hurt: a pixel of each frame's corner changes too."""
    parts, change = parts_of(face.track), Change(face)
    work = Work(face, parts, paint, DubOptions(match=False), None)
    for frame in iter_frames(clip):
        for before, after in work.take(frame):
            if hurt:
                after = after.copy()
                after[0, 0] ^= 255
            change.watch(before.index, before.image, after)
    return change, parts


def test_changes_are_seen_where_they_are(clip, face):
    kept, parts = dubbed(clip, face, lambda crops, *_: crops)
    assert kept.outside == 0 and kept.psnr > 26
    lost, _ = dubbed(clip, face, lambda crops, *_: np.zeros_like(crops))
    assert lost.outside == 0 and lost.psnr < 15
    assert kept.ssim > 0.8 and lost.ssim < 0.4
    hurt, _ = dubbed(clip, face, lambda crops, *_: crops, hurt=True)
    assert hurt.outside == FRAMES / hurt.step
    flicker, parts = dubbed(clip, face, lambda crops, part, *_: np.full_like(crops, 40 + 5 * part.first))
    source, result = flicker.joins(parts)
    joined = {part.first + k for part in parts for k in range(EASED + 1)}  # what differs is spread over these
    inner = np.mean([new for tick, (_, new) in flicker.steps.items() if tick not in joined])
    assert result > 10 * inner and abs(source - kept.joins(parts)[0]) < 1e-9


def test_opening_is_the_mouths_and_correlates_with_itself(face):
    mouth = opening(face.landmarks, face.seen)
    assert np.isfinite(mouth).mean() > 0.9 and 0 <= np.nanmin(mouth) < np.nanmax(mouth) < 1
    assert correlation(mouth, 3 * mouth + 1) == pytest.approx(1) and correlation(mouth, -mouth) == pytest.approx(-1)
    assert np.isnan(correlation(mouth, np.ones_like(mouth)))


def test_the_report_has_a_row_for_each_kind_of_dub(tmp_path, clip, capsys):
    data = tmp_path / "data"
    data.mkdir()
    for name in ("a.mp4", "b.mp4"):
        (data / name).write_bytes(clip.read_bytes())
    lines = ["file,split,kind,sync,identity", *(f"{name},test,real,trusted,p" for name in ("a.mp4", "b.mp4"))]
    (data / "clips.csv").write_text("\n".join(lines) + "\n")
    write_demo(tmp_path / "model")
    out, videos = tmp_path / "report.json", tmp_path / "videos"
    texts = tmp_path / "texts.csv"
    texts.write_text("file,text\na.mp4,bin blue at a one now\nb.mp4,bin blue at a one now\n")
    command = ["dubbing", "--data", data, "--model", tmp_path / "model", "--steps", 1, "--videos", videos, "--out", out]
    command += ["--texts", texts]
    assert evaluate.main([str(word) for word in command]) == 0
    report = json.loads(out.read_text())
    assert report["clips"] == {"unseen trusted": 2}
    rows = {row["row"]: row for row in report["table"]["unseen trusted"]}
    assert list(rows) == ["real", "untouched", "audio", "video", "shuffled", "own voice", "silence", "reference"]
    assert rows["real"]["mouth r"] == rows["untouched"]["mouth r"] == 1  # both clips are the same
    dubbed = [rows[name] for name in ("audio", "video", "shuffled", "own voice", "silence")]
    assert all(row["changed outside"] == 0 for row in dubbed)
    assert [name for name, row in rows.items() if row["SSIM"] and row["PSNR dB"]] == ["own voice"]
    assert rows["real"]["WER %"] == rows["untouched"]["WER %"] > 0 and rows["silence"]["WER %"] is None
    name = "the driver itself"
    assert rows["silence"][f"{name}: conf"] is rows["silence"]["mouth r"] is None and rows["silence"]["lips open"] > 0
    mouth = opening(*(getattr(follow_face(clip, 64), name) for name in ("landmarks", "seen")))
    assert rows["untouched"]["lips open"] == pytest.approx(np.nanmean(mouth), abs=1e-3)
    assert rows["untouched"]["lips move"] == pytest.approx(np.nanstd(mouth), abs=1e-3)
    assert all(row[f"{name}: FD frames"] > 0.01 and row[f"{name}: FD motion"] > 0 for row in dubbed)
    assert rows["reference"][f"{name}: FD frames"] > 0 and report["samples"]["unseen trusted"]["face_clips"] == 4
    assert rows["own voice"][f"{name}: identity"] is None and report["judges"][name]["people"] == 1  # nobody to compare
    assert len(list(videos.glob("*.mp4"))) == 10 and (videos / "sheet.png").exists()
    assert "own voice" in capsys.readouterr().out


def test_each_kind_of_dub_is_driven_by_its_own_tokens():
    rng = np.random.default_rng(0)

    def subject(valid):
        audio, vocal, silence = rng.standard_normal((3, 8, 4))
        return Subject(None, SimpleNamespace(audio=audio, vocal=vocal, valid=valid), silence, None)

    own, other = subject(np.ones(8, bool)), subject(np.arange(8) > 2)
    expected = {"audio": other.tokens.audio, "own voice": own.tokens.audio, "silence": own.silence}
    for name, tokens in expected.items():
        found, valid = tokens_of(name, own, other, 0)
        assert found is tokens and valid.all()
    found, valid = tokens_of("video", own, other, 0)
    assert found is other.tokens.vocal and valid is other.tokens.valid
    mixed, _ = tokens_of("shuffled", own, other, 0)
    assert (mixed != other.tokens.audio).any() and sorted(mixed[:, 0]) == sorted(other.tokens.audio[:, 0])
