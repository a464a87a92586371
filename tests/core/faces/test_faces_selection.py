"""Whose face is chosen."""

import numpy as np
import pytest

from synclip_core.errors import SyncLipError
from synclip_core.faces.selection import TrackCollector, TrackSummary, parse_choice, select_tracks
from synclip_core.faces.track_output import TrackChunk


def summary(track_id: int, first: int, last: int, x: float, size: float) -> TrackSummary:
    return TrackSummary(track_id, first, last, last - first + 1, np.array([x, 0, x + size, size]))


# scene 1 (ticks 0-99): a small face left (0), a large one right (1); scene 2 (100-149): large left (2), small right (3)
TRACKS = [
    summary(0, 0, 99, 10, 50),
    summary(1, 0, 99, 200, 80),
    summary(2, 100, 149, 20, 70),
    summary(3, 100, 149, 220, 60),
]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", [1, 2]),
        ("largest", [1, 2]),
        (0, [0, 2]),
        (1, [1, 3]),
        ("1", [1, 3]),
        ((230.0, 30.0), [1, 3]),
        ("15, 20", [0, 2]),
    ],
)
def test_choices(choice: object, expected: list[int]) -> None:
    assert select_tracks(TRACKS, choice) == expected  # type: ignore[arg-type]


def test_auto_weighs_size_with_time() -> None:
    brief = summary(4, 0, 4, 100, 120)
    assert select_tracks([*TRACKS[:2], brief], "auto") == [1]
    assert select_tracks([*TRACKS[:2], brief], "largest", follow=False) == [4]


def test_speaker_is_who_scores_best_in_each_scene() -> None:
    assert select_tracks(TRACKS, "speaker", {0: 3.0, 1: 1.0, 2: 0.5, 3: 2.0}) == [0, 3]
    assert select_tracks(TRACKS, "speaker", {0: 3.0, 1: 1.0, 2: 0.5, 3: 2.0}, follow=False) == [0]
    with pytest.raises(SyncLipError, match="score"):
        select_tracks(TRACKS, "speaker")


def test_errors_name_what_is_there() -> None:
    with pytest.raises(SyncLipError, match="only 2 faces"):
        select_tracks(TRACKS, 2)
    with pytest.raises(SyncLipError, match="auto, largest"):
        parse_choice("the tall one")
    assert select_tracks([], 5) == []


def test_collector_takes_medians_of_seen_ticks() -> None:
    collector = TrackCollector()
    for start in (10, 14):
        boxes = np.array([[0, 0, 9, 9]] * 3 + [[900, 0, 909, 9]], np.float32)
        valid = np.array([True, True, True, False])
        ticks = np.arange(start, start + 4)
        empty = np.zeros((4, 2, 3))
        collector.add(TrackChunk(7, ticks, np.zeros((4, 1, 1, 3), np.uint8), valid, empty, empty, boxes, np.ones(4)))
    (only,) = collector.summaries()
    assert (only.track_id, only.first, only.last, only.seen) == (7, 10, 17, 6)
    np.testing.assert_array_equal(only.box, [0, 0, 9, 9])
