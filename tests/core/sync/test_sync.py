"""The clip's answer: lag, sign, words, masks, windows, wide search, thresholds; and the speech mask behind it."""

import json
import time
import tracemalloc

import numpy as np
import pytest

from synclip_core.errors import SyncLipError
from synclip_core.sync.measure import SyncThresholds, distance_curve, in_sync_score, lag_words, measure_sync, refine_lag


def tokens(
    frames: int, lag: int = 0, seed: int = 0, width: int = 64, noise: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:
    """Noisy token streams in which v_{u + lag} matches a_u; neighbours resemble each other, as real ones do."""
    generator = np.random.default_rng(seed)
    steps = generator.standard_normal((frames + 2 * abs(lag) + 2, width))
    source = steps[:-2] + 1.2 * steps[1:-1] + steps[2:]
    source /= np.linalg.norm(source, axis=1, keepdims=True)
    jitter = noise / np.sqrt(width)
    vocal = source[abs(lag) : abs(lag) + frames] + jitter * generator.standard_normal((frames, width))
    audio = source[abs(lag) + lag : abs(lag) + lag + frames] + jitter * generator.standard_normal((frames, width))
    return audio.astype(np.float32), vocal.astype(np.float32)


@pytest.mark.parametrize(
    ("lag", "verdict", "text"),
    [
        (0, "in_sync", "in sync"),
        (1, "in_sync", "in sync"),
        (-1, "in_sync", "in sync"),
        (3, "audio_early", "audio is 120 ms early"),
        (-2, "audio_late", "audio is 80 ms late"),
        (12, "audio_early", "audio is 480 ms early"),
        (-12, "audio_late", "audio is 480 ms late"),
        (15, "audio_early", "audio is 600 ms or more early"),
    ],
)
def test_verdict_and_words(lag: int, verdict: str, text: str) -> None:
    result = measure_sync(*tokens(100, lag))
    assert (result.lag_frames, result.lag_ms, result.verdict, result.text) == (lag, 40 * lag, verdict, text)
    assert lag_words(lag) == text.replace(" or more", "")


def test_unrelated_streams_cannot_tell() -> None:
    for seed in range(10):
        audio, _ = tokens(100, seed=seed)
        _, vocal = tokens(100, seed=seed + 100)
        result = measure_sync(audio, vocal)
        assert result.verdict == "cannot_tell" and result.lag_frames is None and result.lag_ms is None
        assert result.best_lag_frames is not None and "do not clearly match" in result.text
        assert result.segments == [] and result.worst_ticks == []


def test_plain_reasons_for_not_telling() -> None:
    audio, vocal = tokens(100)
    silent = measure_sync(audio, vocal, speech=np.zeros(100, bool))
    assert (silent.verdict, silent.text) == ("cannot_tell", "no reliable speech: cannot tell")
    faceless = measure_sync(audio, vocal, valid=np.zeros(100, bool))
    assert (faceless.verdict, faceless.text, faceless.confidence) == (
        "cannot_tell",
        "no face to judge by: cannot tell",
        None,
    )
    for frames in (0, 1, 5, 9):
        short = measure_sync(audio[:frames], vocal[:frames])
        assert (short.verdict, short.text) == ("cannot_tell", "too short: cannot tell")
        json.dumps(short.to_dict(), allow_nan=False)


def test_frames_without_a_face_are_left_out() -> None:
    """Held frames (copies) in most of the clip would win with a false lag; masked, they change nothing."""
    audio, vocal = tokens(120, 4)
    broken = vocal.copy()
    broken[30:100] = 3 * audio[20:90]  # a wrong lag of +10, perfectly matched
    valid = np.ones(120, bool)
    valid[30:100] = False
    assert measure_sync(audio, broken, valid).lag_frames == 4
    np.testing.assert_array_equal(distance_curve(audio, broken, 15, valid), distance_curve(audio, vocal, 15, valid))
    assert measure_sync(audio, broken, valid).face_s == pytest.approx(50 / 25)
    assert measure_sync(audio, broken).lag_frames == 10


def test_wide_search_finds_what_the_narrow_one_cannot() -> None:
    audio, vocal = tokens(400, 60)
    assert measure_sync(audio, vocal).verdict == "cannot_tell"
    wide = measure_sync(audio, vocal, wide_lag=75)
    assert (wide.lag_frames, wide.text, wide.max_lag, len(wide.curve)) == (60, "audio is 2400 ms early", 75, 151)
    audio, vocal = tokens(400, 2)
    assert measure_sync(audio, vocal, wide_lag=75).max_lag == 15  # the narrow search settled it


def test_score_falls_with_lag_and_parabola_is_exact() -> None:
    scores = [measure_sync(*tokens(100, lag)).score for lag in (0, 3)]
    assert scores[0] is not None and scores[1] is not None and scores[0] > 0.3 > 0.1 > scores[1]
    lags = np.arange(-15, 16)
    assert refine_lag((lags - 3.3) ** 2.0) == pytest.approx(3.3)
    assert refine_lag((lags - 30.0) ** 2) == 15
    assert in_sync_score(np.where(lags == 0, 0.25, 1.0)) == 0.75
    assert np.isnan(in_sync_score(np.full(31, np.nan)))


def test_windows_show_where_the_lag_changes() -> None:
    first, second = tokens(300, 0), tokens(150, 6, seed=1)
    audio, vocal = (np.concatenate([a, b]) for a, b in zip(first, second, strict=True))
    result = measure_sync(audio, vocal, window=50, hop=10)
    assert result.lag_frames == 0
    assert [w.start_s for w in result.windows] == pytest.approx([0.4 * i for i in range(41)])
    for w in result.windows:
        if w.end_s <= 12 or w.start_s >= 12:
            assert w.reliable and w.lag_frames == (0 if w.end_s <= 12 else 6)
    shifted = [s for s in result.segments if s.kind == "shifted"]
    assert len(shifted) == 1 and shifted[0].lag_frames == 6
    assert shifted[0].start_s == pytest.approx(12, abs=0.6) and shifted[0].end_s == 18
    assert result.agreement == pytest.approx(2 / 3, abs=0.1)
    assert len(result.worst_ticks) == 6 and all(t >= 290 for t in result.worst_ticks[:5])
    assert min(np.diff(sorted(result.worst_ticks))) >= 25


def test_lost_match_is_named_while_there_is_speech_and_not_in_silence() -> None:
    audio, vocal = tokens(400)
    audio[150:250] = tokens(100, seed=9)[0]
    talk = np.ones(400, bool)
    unclear = [s for s in measure_sync(audio, vocal, speech=talk).segments if s.kind == "unclear"]
    assert len(unclear) == 1 and unclear[0].start_s == pytest.approx(6, abs=1)
    assert unclear[0].end_s == pytest.approx(10, abs=1) and unclear[0].lag_frames is None
    talk[150:250] = False
    quiet = measure_sync(audio, vocal, speech=talk)
    assert quiet.segments == [] and quiet.speech_s == 12
    inside = [w for w in quiet.windows if w.start_s >= 6 and w.end_s <= 10]
    assert inside and not any(w.reliable for w in inside)
    assert all(w.to_dict()["lag_frames"] is None for w in inside)
    assert not any(150 <= t < 250 for t in quiet.worst_ticks)


def test_silence_does_not_vote_even_where_it_matches_at_another_lag() -> None:
    first, second = tokens(300, 0), tokens(150, 6, seed=1)
    audio, vocal = (np.concatenate([a, b]) for a, b in zip(first, second, strict=True))
    talk = np.arange(450) < 300
    result = measure_sync(audio, vocal, speech=talk)
    assert not any(w.reliable for w in result.windows if w.end_s >= 12 + 0.7 * 2)  # less than 30 % speech
    assert all(segment.end_s <= 12.6 for segment in result.segments)
    assert result.agreement is not None and result.agreement > 0.95
    assert measure_sync(audio, vocal, speech=~talk).segments[-1].kind == "shifted"


def test_last_window_ends_with_the_clip_and_a_short_clip_is_one_window() -> None:
    windows = measure_sync(*tokens(87), window=50, hop=10).windows
    assert [round(w.start_s * 25) for w in windows] == [0, 10, 20, 30, 37]
    assert windows[-1].end_s == 87 / 25 and windows[-1].lag_frames == 0
    (only,) = measure_sync(*tokens(30, 2), window=50).windows
    assert (only.start_s, only.end_s, only.lag_frames) == (0, 1.2, 2)


def test_speech_weighting_recovers_a_lag_that_silence_buries() -> None:
    audio, vocal = tokens(600, 5)
    audio[100:] = audio[300]  # silence: one sound, over a mouth at rest that resembles it at every lag but one
    vocal[100:] = vocal[300]
    vocal[98:103] = audio[400]
    talk = np.arange(600) < 90
    plain = measure_sync(audio, vocal, speech=talk)
    weighted = measure_sync(audio, vocal, speech=talk, weighting="speech")
    assert weighted.lag_frames == 5
    assert plain.confidence is not None and weighted.confidence is not None
    assert weighted.confidence > 3 * plain.confidence
    with pytest.raises(ValueError, match="weighting"):
        measure_sync(audio, vocal, weighting="loud")


def test_result_is_plain_json() -> None:
    audio, vocal = tokens(60, -4)
    values = measure_sync(audio, vocal, valid=np.arange(60) > 3).to_dict()
    again = json.loads(json.dumps(values, allow_nan=False))
    assert again == values
    assert (again["lag_frames"], again["lag_ms"], again["windows"][0]["lag_ms"]) == (-4, -160, -160)
    assert min((d, i) for i, d in enumerate(again["curve"]) if d is not None)[1] == 11


def test_thresholds_travel_as_json_and_refuse_nonsense() -> None:
    limits = SyncThresholds(confidence=0.3, in_sync_score=-0.05, tolerance_frames=2)
    assert SyncThresholds.from_dict(json.loads(json.dumps(limits.to_dict()))) == limits
    assert SyncThresholds.from_dict({"confidence": 1}) == SyncThresholds(confidence=1.0)
    for bad in (
        {"confidense": 0.1},
        {"confidence": "0.1"},
        {"confidence": float("nan")},
        {"settle_s": -1},
        {"confidence": True},
    ):
        with pytest.raises(SyncLipError, match="sync thresholds"):
            SyncThresholds.from_dict(bad)
    audio, vocal = tokens(100, 2)
    assert measure_sync(audio, vocal, thresholds=SyncThresholds(tolerance_frames=2)).verdict == "in_sync"
    assert measure_sync(audio, vocal, thresholds=SyncThresholds(confidence=5)).verdict == "cannot_tell"


def test_required_confidence_falls_with_length_and_rises_with_range() -> None:
    limits = SyncThresholds(confidence=0.2, settle_s=9)
    assert limits.required(1) == pytest.approx(0.2)
    assert limits.required(4) == pytest.approx(0.1)
    assert limits.required(9) == limits.required(100) == pytest.approx(0.2 / 3)
    assert limits.required(1, 151) == pytest.approx(0.2 * np.sqrt(np.log(151) / np.log(31)))


def test_ten_minutes_are_quick_and_light() -> None:
    audio, vocal = tokens(15000, -7, width=192)
    tracemalloc.start()
    start = time.perf_counter()
    result = measure_sync(audio, vocal)
    seconds, peak = time.perf_counter() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert result.lag_frames == -7 and {w.lag_frames for w in result.windows} == {-7}
    assert seconds < 20  # about 0.5 s on an idle core
    assert peak < 120e6  # a 15000 x 15000 matrix would take 900 MB
