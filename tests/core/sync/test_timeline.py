"""The truth along a clip on closed-form bands: steps, slopes, stretches that fit nowhere, still pictures, silence."""

import json

import numpy as np
import pytest

from synclip_core.cli.shared import table
from synclip_core.cli.shared.csv_file import timeline_cell
from synclip_core.cli.shared.exit_codes import exit_code
from synclip_core.errors import SyncLipError
from synclip_core.faces.selection import TrackSummary
from synclip_core.media.pieces import at_least, moved_apart
from synclip_core.sync.along.evidence import Evidence, contrasts
from synclip_core.sync.along.headline import rate_guess
from synclip_core.sync.along.judge import Timeline, judge
from synclip_core.sync.along.path import find_runs
from synclip_core.sync.along.stretches import stands_out
from synclip_core.sync.along.tolerance import parse_tolerance
from synclip_core.sync.measure import measure_sync
from synclip_core.sync.repair import plan_repair, quiet_place
from synclip_core.sync.report import ScoreReport
from synclip_core.sync.speakers import face_row
from train.evaluate.sync.evidence.fit import LEAST_DOUBT, doubt_limit

# of two unrelated unit vectors the contrast is about 0 and deviates by 1; of a pair that belongs together it is about 4
KNOWN = Evidence((-2.0, 1.0, 2.0, 5.0), (-3.0, -2.0, 0.0, 5.0), 0.1, (-2.0, -1.0, 0.0, 4.0), 0, 0.9, 5.3)


def stream(ticks: int, seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).standard_normal((ticks, 64)).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def clip(lag_at: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """audio, vocal: the mouth of tick u + lag_at[u] shows the sound of tick u; NaN: a sound of somebody else."""
    ticks = len(lag_at)
    vocal, audio = stream(ticks, seed), stream(ticks, seed + 1)
    for u in np.flatnonzero(np.isfinite(lag_at)):
        place = u + round(float(lag_at[u]))
        if 0 <= place < ticks:
            audio[u] = vocal[place]
    return audio, vocal


def told(lag_at: np.ndarray, **given: object) -> Timeline:
    return judge(*clip(lag_at), evidence=KNOWN, **given)  # type: ignore[arg-type]


def test_a_step_has_two_stretches_and_no_single_lag() -> None:
    found = told(np.where(np.arange(500) < 250, 0, -8))
    assert found.verdict == "mixed" and found.lag_frames is None
    first, second = found.stretches
    assert (first.state, second.state) == ("in_sync", "audio_late")
    assert first.end_s == pytest.approx(10, abs=0.2) and second.lag_frames == -8
    assert found.words.startswith("in sync until ") and found.words.endswith("then audio is 320 ms late")
    assert measure_sync(*clip(np.where(np.arange(500) < 250, 0, -8))).verdict != "mixed"  # one argmin cannot say it


@pytest.mark.parametrize("slope", [0.0416, -0.02, 0.01])
def test_a_slope_is_found_within_a_tenth(slope: float) -> None:
    found = told(slope * np.arange(500))
    assert found.verdict == "drift" and found.slope == pytest.approx(slope, rel=0.1)
    assert f"{abs(slope) * 1000:.0f} ms a second" in found.words
    assert ("frames made at 25 fps, saved at 24?" in found.words) == (slope == 0.0416)


def test_lags_beyond_the_curve_are_found_and_noise_is_not() -> None:
    for lag in (25, -19, 100, -100):
        found = told(np.full(500, lag))
        assert found.lag_frames == lag and found.confidence is not None and found.confidence > 0.99
    audio, vocal = stream(500, 7), stream(500, 8)
    assert judge(audio, vocal, evidence=KNOWN).verdict in ("does_not_follow", "cannot_tell")


def test_another_voice_in_the_middle_does_not_follow() -> None:
    lags = np.zeros(500)
    lags[150:350] = np.nan
    found = told(lags)
    assert found.verdict == "mixed" and [s.state for s in found.stretches] == ["in_sync", "does_not_follow", "in_sync"]
    assert found.stretches[1].start_s == pytest.approx(6, abs=0.4)
    assert found.stretches[1].end_s == pytest.approx(14, abs=0.4)
    assert found.follows == pytest.approx(0.6, abs=0.05) and "lips follow the voice for 12 of 20 s" in found.words


def test_a_still_picture_is_no_evidence_and_is_named() -> None:
    look = np.full((500, 5), 5.0, np.float32)
    look[:, 1] = 0
    look[150:325, 3] = 0
    audio, vocal = clip(np.zeros(500))
    vocal[150:325] = vocal[150]
    found = judge(audio, vocal, look=look, evidence=KNOWN)
    still = [s for s in found.stretches if s.state == "still"]
    assert len(still) == 1 and (still[0].start_s, still[0].end_s) == (6, 13)
    assert found.verdict == "mixed" and "stands still from 6.0 to 13.0 s" in found.words
    assert judge(audio[150:325], vocal[150:325], look=look[150:325], evidence=KNOWN).words.startswith("the picture of")


def test_gaps_and_silence_are_stretches_but_no_fault() -> None:
    valid, speech = np.ones(500, bool), np.ones(500, bool)
    valid[200:260], speech[400:480] = False, False
    found = told(np.zeros(500), valid=valid, speech=speech)
    assert found.verdict == "in_sync" and found.words == "in sync" and found.reason == ""
    assert [s.state for s in found.stretches if s.state != "in_sync"] == ["no_face", "no_speech"]
    for key, lags, reason in (
        ("valid", np.zeros(500), "no face to judge by"),
        ("speech", np.full(500, np.nan), "no reliable speech"),
    ):
        nothing = told(lags, **{key: np.zeros(500, bool)})
        assert (nothing.verdict, nothing.words) == ("cannot_tell", f"{reason}: cannot tell")


@pytest.mark.parametrize("ticks", [0, 1, 4, 9])
def test_short_clips_never_fail(ticks: int) -> None:
    found = told(np.zeros(ticks))
    assert found.verdict == "cannot_tell" and found.words == "too short: cannot tell"


def test_a_song_is_believed_where_it_matches_and_nowhere_else() -> None:
    none, lags = np.zeros(500, bool), np.where(np.arange(500) < 250, -6, np.nan)
    found = told(lags, speech=none)
    assert [s.state for s in found.stretches] == ["audio_late", "cannot_tell"] and found.lag_frames == -6
    other = told(np.full(500, np.nan), speech=none)
    assert (other.verdict, other.reason) == ("cannot_tell", "no reliable speech")
    silence = np.repeat(stream(1, 3), 500, 0)
    assert judge(silence, stream(500, 4), None, none, evidence=KNOWN).reason == "no reliable speech"
    assert told(lags).stretches[1].state == "does_not_follow"


def test_contrast_does_not_know_how_loud_a_voice_is() -> None:
    band = np.random.default_rng(0).standard_normal((80, 31)).astype(np.float32)
    plain = contrasts(band)
    assert plain.std() == pytest.approx(1, abs=0.05)
    assert np.abs(contrasts(3 * band) - plain).max() < 1e-4
    assert np.abs(contrasts(band + 7) - plain).max() < 1e-4


def test_a_weak_but_steady_match_stands_out() -> None:
    nats = 0.3 * np.random.default_rng(0).standard_normal((500, 251)).astype(np.float32)
    assert stands_out(nats, 0, 500) < 6
    nats[:, 127] += 0.15
    assert stands_out(nats, 0, 500) > 6
    assert find_runs(np.zeros((0, 251), np.float32)) == []


def report_of(lags: np.ndarray) -> ScoreReport:
    audio, vocal = clip(lags)
    timeline = judge(audio, vocal, evidence=KNOWN)
    return ScoreReport.from_timeline("a.mp4", measure_sync(audio, vocal), timeline, 1)


def test_report_json_csv_and_exit_code_tell_the_same() -> None:
    report = report_of(np.where(np.arange(500) < 250, 0, 10))
    data = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert data["verdict"] == "mixed" and data["lag_ms"] is None and data["worst_lag_ms"] == 400
    assert [s["state"] for s in data["stretches"]] == ["in_sync", "audio_early"] and data["reason"]
    assert "in_sync 0 ms; " in timeline_cell(report) and timeline_cell(report).endswith("audio_early 400 ms")
    assert exit_code([report]) == 1 and exit_code([report_of(0.02 * np.arange(500))]) == 1


def test_repair_moves_what_is_off_and_refuses_the_rest() -> None:
    plan = plan_repair(report_of(np.where(np.arange(500) < 250, 0, 10)))
    assert plan.lag_frames == 0 and len(plan.moves) == 1
    assert plan.moves[0].at == pytest.approx(10, abs=0.3) and plan.moves[0].later_s == pytest.approx(0.4)
    drift = report_of(-0.02 * np.arange(500))
    assert plan_repair(drift).longer == pytest.approx(0.98, abs=0.002)
    assert plan_repair(drift, retime=True).retime == pytest.approx(1 / 0.98, abs=0.002)
    lags = np.zeros(500)
    lags[200:] = np.nan
    with pytest.raises(SyncLipError, match="the sound is right already"):
        plan_repair(report_of(lags))
    with pytest.raises(SyncLipError, match="no lag to repair"):
        plan_repair(report_of(np.full(500, np.nan)))


def test_cuts_are_made_where_it_is_quiet() -> None:
    sound = 0.1 * np.ones(10 * 16000, np.float32)
    sound[83200:84800] = 0  # 5.2 to 5.3 s
    assert quiet_place(sound, 5.0) == pytest.approx(5.25, abs=0.03)
    assert quiet_place(None, 5.0) == 5.0


def test_moved_pieces_lose_no_sample() -> None:
    sound = np.arange(1, 1001, dtype=np.float32)[None]
    blocks = [sound[:, k : k + 130] for k in range(0, 1000, 130)]
    apart = np.concatenate(list(moved_apart(blocks, [(400, 50)])), 1)[0]
    assert np.array_equal(apart, np.concatenate([sound[0, :400], np.zeros(50), sound[0, 400:]]))
    close = np.concatenate(list(moved_apart(blocks, [(400, -50)])), 1)[0]
    assert len(close) == 950 and np.array_equal(close[:350], sound[0, :350])
    assert np.array_equal(close[400:], sound[0, 450:])  # what follows the cross-fade is 50 samples earlier
    assert np.concatenate(list(at_least([sound], 1200, 1)), 1).shape == (1, 1200)


def test_tolerances_by_name_and_number() -> None:
    assert parse_tolerance("EBU-R37").holds(-60) and not parse_tolerance("ebu-r37").holds(60)
    assert parse_tolerance("itu-r-bt1359").holds(90) and not parse_tolerance("itu-r-bt1359").holds(91)
    assert (parse_tolerance("20,30").early_ms, parse_tolerance("20,30").late_ms) == (20, 30)
    assert told(np.full(300, 3), tolerance=parse_tolerance("120,0")).verdict == "in_sync"
    assert told(np.full(300, -1), tolerance=parse_tolerance("120,0")).verdict == "audio_late"
    with pytest.raises(SyncLipError, match="tolerance"):
        parse_tolerance("nearly")


def test_rates_are_guessed_only_where_they_fit() -> None:
    assert "25 fps, saved at 24" in rate_guess(0.0412) and rate_guess(0.02) == ""


def test_faces_are_listed_where_there_are_several() -> None:
    box = np.array([10.0, 20, 50, 80])
    seen = TrackSummary(3, 0, 249, 250, box)
    found = told(np.full(250, -8))
    row = face_row(seen, 0.5, found, True)
    assert row["face"] == "60,100" and row["box"] == [20, 40, 100, 160] and (row["from"], row["to"]) == (0.0, 10.0)
    assert (row["verdict"], row["lag"], row["lag_ms"], row["chosen"]) == ("audio_late", -8, -320, True)
    passing = face_row(TrackSummary(4, 10, 20, 11, box), 0.5, None, False)
    assert passing["verdict"] is passing["lag"] is passing["confidence"] is None
    report = ScoreReport("a.mp4", "audio_late", lag_frames=-8, tracks=[passing, row])
    assert report.to_json()["tracks"] == [passing, row]
    first, second = table.faces(report)
    assert first == "face 60,100, 0.0 to 10.0 s: audio is 320 ms late (judged)" and second.endswith("seen too briefly")
    assert first in table.render([report], width=100)
    many = table.faces(ScoreReport("a.mp4", "audio_late", tracks=[row] * 40))
    assert len(many) == table.MOST_FACES + 1 and many[-1] == "and 28 faces more, see --json"


def test_one_clip_alone_does_not_set_the_doubt() -> None:
    assert doubt_limit([0.0] * 61 + [36.1]) == pytest.approx(LEAST_DOUBT)
    assert doubt_limit([0.0] * 60 + [7.0, 36.1]) == pytest.approx(8.0)
    assert doubt_limit([]) == doubt_limit([12.0]) == pytest.approx(LEAST_DOUBT)
    assert doubt_limit([7.0] * 297 + [20.0, 30.0, 40.0]) == pytest.approx(8.0)


def test_looks_that_are_not_of_these_ticks_are_not_looked_at() -> None:
    """A token file may come without them, or damaged."""
    lags = np.zeros(200)
    plain = told(lags)
    for shape in ((0, 5), (100, 5), (200, 3), (200,)):
        assert told(lags, look=np.zeros(shape, np.float32)) == plain
