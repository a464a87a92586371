"""One pass over a file: what it opens, and how it ends."""

import threading
from pathlib import Path

import numpy as np
import pytest

from synclip_core.demo import CLIP
from synclip_core.errors import SyncLipError
from synclip_core.faces.track_output import TrackOptions
from synclip_core.faces.tracking import FaceTracker
from synclip_core.follow import FacePass
from synclip_core.media.video import SourceFrame, iter_ticks
from synclip_core.pipeline import SyncPipeline


@pytest.fixture(scope="module")
def tracker() -> FaceTracker:
    return FaceTracker(TrackOptions())


def running() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("synclip")]


def test_a_pass_is_the_tracker_on_the_ticks(tracker: FaceTracker) -> None:
    want = list(tracker.run(iter_ticks(CLIP)))
    ticks: list[int] = []

    def look(tick: int, expected: int, frame: SourceFrame) -> None:
        assert threading.current_thread() is threading.main_thread() and frame.image.ndim == 3
        ticks.append(tick)

    with FacePass(CLIP, tracker, look=look) as faces:
        found = list(faces)
    assert ticks == list(range(faces.expected)) and faces.ticks == len(faces.map) == faces.expected
    for own, other in zip(found, want, strict=True):
        np.testing.assert_array_equal(own.crops, other.crops)
        np.testing.assert_array_equal(own.landmarks, other.landmarks)
    assert faces.choose("auto") == [0] and faces.reduction == 1 and not running()


def test_a_cancel_ends_the_pass_and_its_thread(tracker: FaceTracker) -> None:
    class Cancel(BaseException):
        pass

    def look(tick: int, expected: int, frame: SourceFrame) -> None:
        if tick == 20:
            raise Cancel

    with pytest.raises(Cancel), FacePass(CLIP, tracker, look=look) as faces:
        list(faces)
    assert not running()


def test_a_cancel_of_a_score_ends_it_and_the_next_one_is_as_ever(tmp_path: Path) -> None:
    pipeline = SyncPipeline()

    def cancel(done: int, total: int) -> None:
        if done == 70:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipeline.score(CLIP, cancel)
    assert not running()
    assert pipeline.score(CLIP).to_json() == SyncPipeline(pipeline.checkpoint).score(CLIP).to_json()


def test_an_error_of_the_encoder_is_that_of_the_score(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = SyncPipeline()

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no memory for this")

    monkeypatch.setattr(pipeline.model, "prompts", broken)
    with pytest.raises(RuntimeError, match="no memory for this"):
        pipeline.score(CLIP)
    assert not running()


def test_a_file_without_a_picture_says_what_was_expected(tracker: FaceTracker, tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").write_bytes(b"")
    with pytest.raises(SyncLipError, match="empty"):
        FacePass(tmp_path / "empty.mp4", tracker)
