"""ScoreReport: words, the JSON object, and what becomes of numbers that JSON has no word for."""

import json
import math

import numpy as np
import pytest

from synclip_core.sync.measure import measure_sync
from synclip_core.sync.report import JSON_KEYS, ScoreReport, verdict_words


@pytest.mark.parametrize(
    ("verdict", "lag", "words", "ms"),
    [
        ("in_sync", 0, "in sync", 0),
        ("in_sync", 1, "in sync", 40),
        ("audio_early", 3, "audio is 120 ms early", 120),
        ("audio_late", -2, "audio is 80 ms late", -80),
    ],
)
def test_positive_lag_is_early_audio(verdict, lag, words, ms):
    report = ScoreReport("a.mp4", verdict, lag_frames=lag)
    assert (report.words, report.lag_ms) == (words, ms)


def test_no_lag_where_it_cannot_tell():
    report = ScoreReport("a.mp4", "cannot_tell", lag_frames=4, lag_ms=160, confidence=0.02)
    assert report.lag_frames is None and report.lag_ms is None
    assert report.words == "no reliable speech: cannot tell"
    assert report.to_json()["lag_frames"] is None


def test_failed_keeps_the_message():
    report = ScoreReport.failed("a.mp4", ValueError("a.mp4: is empty"))
    assert report.verdict == "error" and report.error == "a.mp4: is empty"
    assert verdict_words("error", None, "a.mp4: is empty") == report.words


def test_unknown_verdict_is_refused():
    with pytest.raises(ValueError, match="out_of_sync"):
        ScoreReport("a.mp4", "out_of_sync")


def test_json_is_strict_and_complete():
    window = {"start_s": np.float32(0.5), "end_s": 2.5, "lag_frames": np.int64(3), "confidence": math.nan}
    report = ScoreReport("ä.mp4", "audio_early", lag_frames=3, score=np.float32(0.25), confidence=math.inf)
    report.windows.append(window)
    data = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert tuple(data) == JSON_KEYS
    assert data["confidence"] is None and data["windows"][0]["confidence"] is None
    assert data["lag_frames"] == 3 and isinstance(data["lag_frames"], int)
    assert data["windows"][0]["lag_frames"] == 3 and data["score"] == 0.25


def test_from_sync_carries_a_known_lag():
    """Tokens whose video runs 4 frames behind: the report says so in every field."""
    tokens = np.random.default_rng(0).standard_normal((150, 16)).astype(np.float32)
    tokens /= np.linalg.norm(tokens, axis=1, keepdims=True)
    result = measure_sync(tokens, np.roll(tokens, 4, axis=0))
    report = ScoreReport.from_sync("a.mp4", result, faces=2)
    assert (report.verdict, report.lag_frames, report.lag_ms) == ("audio_early", 4, 160)
    assert report.words == "audio is 160 ms early" and report.faces == 2
    assert np.argmin(report.curve) - 15 == 4
    assert any(window["lag_frames"] == 4 for window in report.windows)
