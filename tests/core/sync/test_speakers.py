"""Two heads, one voice: the bundled model tells whose it is."""

import json
from pathlib import Path

import numpy as np
import pytest

from synclip_core.demo import CLIP
from synclip_core.demo.two_heads import write_two_heads
from synclip_core.media.audio import NativeAudio
from synclip_core.media.video import iter_ticks
from synclip_core.media.writer import VideoWriter
from synclip_core.pipeline import SyncPipeline


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The head that speaks stands on the right."""
    path = tmp_path_factory.mktemp("two") / "two.mp4"
    write_two_heads(path)
    return path


def test_the_speaker_comes_first(two: Path) -> None:
    seen: list[int] = []
    pipeline = SyncPipeline()
    first, second = pipeline.speakers(two, progress=lambda done, total: seen.append(done))
    assert (first.index, second.index) == (1, 0) and seen
    assert first.talks and first.result.verdict == "in_sync" and not second.talks
    width = 640
    assert width / 2 < first.centre[0] < width and 0 < second.centre[0] < width / 2
    assert abs(first.seen_s - 11) < 0.5 and any(w["lag_frames"] is not None for w in first.windows())
    # what the file shows there: the crop of the right head is not that of the left one
    assert first.picture.shape == (112, 112, 3) and not np.array_equal(first.picture, second.picture)
    # its point, given as a choice, is the choice "speaker"
    by_point = SyncPipeline(pipeline.checkpoint, face=first.centre).score(two)
    by_word = SyncPipeline(pipeline.checkpoint, face="speaker").score(two)
    assert by_point.to_json() == by_word.to_json() and by_point.verdict == "in_sync"
    # the pipeline of a point looks for small faces as well, so its crops differ by a little
    assert first.result.confidence == pytest.approx(by_point.contrast, abs=0.01)
    # every face of the file is named, with its own verdict and whether the file's is about it
    left, right = by_word.tracks
    assert (left["chosen"], right["chosen"]) == (False, True)
    assert right["verdict"] == "in_sync" and right["lag"] == 0 and right["confidence"] > 0.9
    assert left["verdict"] in ("does_not_follow", "cannot_tell") and left["lag"] is None
    assert right["face"] == f"{first.centre[0]:.0f},{first.centre[1]:.0f}" and right["from"] == 0.0
    assert right["box"][0] < first.centre[0] < right["box"][2] and right["to"] == pytest.approx(11.28, abs=0.1)


def test_times_are_those_of_the_clip(tmp_path: Path) -> None:
    """A head that comes into the picture after two seconds is judged by the voice from then on."""
    path = tmp_path / "later.mp4"
    frames = [frame.image for _, frame in iter_ticks(CLIP)]
    with VideoWriter(path, frames[0].shape[1], frames[0].shape[0], 25, audio_from=CLIP) as writer:
        for index, frame in enumerate(frames):
            writer.write(frame if index >= 50 else np.full_like(frame, 90))
    (face,) = SyncPipeline().speakers(path)
    assert abs(face.first_s - 2) <= 0.1 and face.result.verdict == "in_sync"
    assert face.windows()[0]["start_s"] == pytest.approx(face.first_s, abs=0.001)
    assert json.loads(json.dumps(face.to_json()))["talks"] is True


def test_no_face_is_an_empty_list(tmp_path: Path) -> None:
    path = tmp_path / "grey.mp4"
    with VideoWriter(path, 64, 64, 25, audio=NativeAudio(np.zeros((1, 32000), np.float32), 16000, "mono")) as writer:
        for _ in range(50):
            writer.write(np.full((64, 64, 3), 90, np.uint8))
    assert SyncPipeline().speakers(path) == []
