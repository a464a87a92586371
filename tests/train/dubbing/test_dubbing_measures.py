"""Identity, words and the table of the dubbing report, on figures that are known."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from synclip_core import demo
from synclip_core.dubbing.face import follow_face
from synclip_core.errors import SyncLipError
from synclip_core.pipeline import SyncPipeline
from synclip_core.reading.reader_file import load_reader
from train.data.texts import Spoken
from train.evaluate.clips import Clip
from train.evaluate.dubbing.identity import People
from train.evaluate.dubbing.judge import Judge, opening
from train.evaluate.dubbing.table import dubbing_text, mean_row
from train.evaluate.dubbing.words import Words, open_words

rng = np.random.default_rng(0)


def person(face, ticks=30):
    return SimpleNamespace(identity=100 + face + 0.1 * rng.standard_normal((ticks, 16)), valid=np.ones(ticks, bool))


def test_strangers_are_far_though_their_tokens_nearly_agree():
    faces = {who: rng.standard_normal(16) for who in "abcdef"}
    people = People({who: person(face) for who, face in faces.items()})
    other = person(faces["a"], 20)  # another clip of a
    raw = person(faces["b"]).identity[0] @ other.identity[0]
    assert raw / np.linalg.norm(other.identity[0]) ** 2 == pytest.approx(1, abs=0.01)
    own = person(faces["a"])
    assert people.alike(own, own) == pytest.approx(1) and people.alike(own, other) > 0.9
    assert people.strangers(own, "a") < 0.2
    own.valid[:] = False
    assert np.isnan(people.alike(own, other))


def test_two_people_have_no_mean_to_be_seen_from():
    two = {who: person(rng.standard_normal(16)) for who in "ab"}
    assert np.isnan(People(two).alike(*two.values()))


@pytest.fixture(scope="module")
def eye():
    return Judge("bundled", SyncPipeline())


def test_a_judge_sees_the_mouth_in_its_one_pass(eye, monkeypatch):
    look = eye.look(demo.CLIP)
    face = follow_face(demo.CLIP, 64)
    np.testing.assert_allclose(look.mouth, opening(face.landmarks, face.seen), atol=1e-3)
    monkeypatch.setattr(eye.pipeline, "tokens", None)
    assert eye.look(demo.CLIP) is look


def test_what_is_read_stands_beside_what_is_said(eye):
    clip = Clip("talk/a.mp4", demo.CLIP, "unseen trusted", "p")
    words = Words(load_reader(), eye, {"talk/a": Spoken("bin blue")})
    whole = words.read(clip.path, clip, len(eye.look(clip.path).mouth))
    assert whole == {"said": "bin blue", "read": eye.pipeline.transcribe(clip.path, load_reader()).text}
    assert whole["read"] and words.read(clip.path, clip, 4)["read"] == ""  # four frames say nothing
    assert words.read(clip.path, replace(clip, file="talk/b.mp4"), 4) is None


def test_no_words_where_what_is_bundled_does_not_fit_and_an_error_where_one_was_asked_for(eye, tmp_path):
    assert open_words(eye, tmp_path, None, None, "csv") is None  # no alignments there
    with pytest.raises(SyncLipError, match="missing.csv"):
        open_words(eye, tmp_path, None, tmp_path / "missing.csv", "csv")
    (tmp_path / "texts.csv").write_text("file,text\na.mp4,Bin blue.\n")
    assert open_words(eye, tmp_path, None, tmp_path / "texts.csv", "csv").texts["a"].text == "bin blue"
    stranger = SimpleNamespace(pipeline=SimpleNamespace(checkpoint=SimpleNamespace(sha256="0" * 64)))
    with pytest.raises(SyncLipError, match="lip reader"):
        open_words(stranger, tmp_path, None, tmp_path / "texts.csv", "csv")


def figures(lag=0, **more):
    return {
        "j": {"identity": 0.5, "conf": 1.0, "at_zero": 0.2, "lag": lag},
        "mouth": 0.4,
        "lips": 0.1,
        "moves": 0.02,
        **more,
    }


def test_a_row_is_the_mean_of_what_its_clips_have():
    said = {"said": "bin blue at a one now", "read": "bin blue at a one now"}
    wrong = {"said": "bin blue", "read": "bin red"}
    rows = [figures(words=said, outside=2), figures(lag=4, words=wrong, outside=1), figures(None, mouth=np.nan)]
    row = mean_row("audio", rows, ["j"], {"j": {"frames": 0.25, "motion": 0.125}})
    assert row["WER %"] == 12.5  # one word of eight, not the mean of the clips
    assert row["j: lag 0 %"] == 33.3 and row["mouth r"] == 0.4 and row["changed outside"] == 3
    assert row["lips open"] == 0.1 and row["lips move"] == 0.02
    assert row["j: FD frames"] == 0.25 and row["j: FD motion"] == 0.125 and row["SSIM"] is None
    silence = mean_row("silence", [{"j": {"identity": 0.5}, "lips": 0.1}], ["j"], {})
    assert silence["j: lag 0 %"] is None and silence["WER %"] is None and silence["lips open"] == 0.1


def test_the_text_has_a_line_a_measure_and_a_column_a_row():
    rows = [mean_row(name, [figures(lips=lips)], ["j"], {}) for name, lips in (("real", 0.25), ("audio", 0.5))]
    samples = {"face_clips": 8, "sentences": 2}
    report = {"table": {"web real": rows}, "samples": {"web real": samples}, "clips": {"web real": 2}}
    text = dubbing_text(report | {"judges": {"j": {"people": 7}}})
    assert "lips open 0.2500 0.5000" in [" ".join(line.split()) for line in text.splitlines()]
    assert "8 times 16 frames" in text and "2 sentences" in text and "7 for j" in text
