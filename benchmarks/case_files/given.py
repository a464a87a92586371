"""The recipes of shared/cases and what each must answer (README.md there)."""

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from synclip_core.sync.along.stretches import AUDIO_EARLY, AUDIO_LATE, IN_SYNC, NOT_FOLLOWING, STILL
from synclip_core.sync.report import ScoreReport

EDGE_S = 0.6


@dataclass(frozen=True)
class Given:
    """file: that the recipe makes; verdict: one of; stretches: (start, end, state, lag_ms or None) in order, None: any;
    drift: ms a second; face: the choice; track: the sound that must be judged; no_face: also right is to say that no
    face is there. repair: what align must do: lags in ms of the sound by stretch, "" where it must not touch."""

    file: str
    verdicts: tuple[str, ...]
    stretches: tuple[tuple[float, float, str, float | None], ...] | None = None
    drift: float | None = None
    lag_ms: float | None = None
    face: str = "auto"
    track: int | None = None
    guess: str = ""
    extra: dict[str, Any] = field(default_factory=dict)


GIVEN = (
    Given("01_step_half_late320.mp4", ("mixed",), ((0, 10, IN_SYNC, 0), (10, 20, AUDIO_LATE, -320))),
    Given("02_stall_400ms_at_8s.mp4", ("mixed",), ((0, 8, IN_SYNC, 0), (8, 20, AUDIO_EARLY, 400))),
    Given("03_drift_2pct_20s.mp4", ("drift",), drift=-20.0),
    Given("04_saved_at_24_instead_of_25_20s.mp4", ("drift",), drift=41.7, guess="saved at 24"),
    Given("05_saved_at_24_instead_of_25_8s.mp4", ("drift",), drift=41.7, guess="saved at 24"),
    Given("06_sync_stops_at_5_of_15s.mp4", ("mixed",), ((0, 5, IN_SYNC, 0), (5, 15, NOT_FOLLOWING, None))),
    Given(
        "07_frozen_picture_7_of_20s.mp4", ("mixed",), ((0, 6, IN_SYNC, 0), (6, 13, STILL, None), (13, 20, IN_SYNC, 0))
    ),
    Given("08_narrator_12_of_20s.mp4", ("mixed",), ((0, 12, NOT_FOLLOWING, None), (12, 20, IN_SYNC, 0))),
    Given(
        "09_interview_left_late320.mp4", ("mixed",), ((0, 10, AUDIO_LATE, -320), (10, 20, IN_SYNC, 0)), face="speaker"
    ),
    Given("10_gallery_of_6_speaker_last.mp4", ("in_sync",), face="speaker"),
    Given("10_gallery_of_6_speaker_last.mp4", ("in_sync",), face="800,360"),
    Given("11_webcam_corner_beside_portrait.mp4", ("in_sync", "no face"), face="1150,590"),
    Given("12_dub_first_original_default.mkv", ("in_sync",), track=1),
    Given("13_track0_silent_mic_on_track1.mp4", ("in_sync",), track=1),
    Given("14_track0_late200_track1_ok.mkv", ("audio_late",), lag_ms=-200, track=0),
    Given("15_antiphase_stereo.mkv", ("in_sync",)),
    Given("16_late_1000ms.mp4", ("audio_late",), lag_ms=-1000),
    Given("17_early_760.mp4", ("audio_early",), lag_ms=760),
    Given("17_early_880.mp4", ("audio_early",), lag_ms=880),
    Given("17_late_760.mp4", ("audio_late",), lag_ms=-760),
    Given("18_audio_30s_video_10s_late240.mp4", ("audio_late",), lag_ms=-240),
    Given("19_sound_3s_before_picture.mkv", ("audio_late",), lag_ms=-200),
)


def make_files(cases: Path, folder: Path) -> None:
    """Run every recipe whose files are not there yet. Needs ffmpeg, and espeak-ng for case 08."""
    folder.mkdir(parents=True, exist_ok=True)
    have = {path.name[:2] for path in folder.iterdir()}
    for recipe in sorted(cases.glob("[0-9]*.sh")):
        if recipe.name[:2] not in have:
            subprocess.run(["bash", recipe.name], cwd=cases, env={**os.environ, "O": str(folder.resolve())}, check=True)


def wrong(given: Given, report: ScoreReport) -> list[str]:
    """What the answer to a case lacks, in words; empty where it is right."""
    if "no face" in given.verdicts and report.verdict == "cannot_tell" and "no face" in report.words:
        return []
    faults = [] if report.verdict in given.verdicts else [f"verdict {report.verdict}"]
    if given.lag_ms is not None and (report.lag_ms is None or abs(report.lag_ms - given.lag_ms) > 40):
        faults.append(f"lag {report.lag_ms}")
    if given.drift is not None and (
        report.drift_ms_per_s is None or abs(report.drift_ms_per_s / given.drift - 1) > 0.1
    ):
        faults.append(f"drift {report.drift_ms_per_s}")
    if given.guess and given.guess not in report.words:
        faults.append("no guess at the frame rate")
    if given.track is not None and report.audio_track != given.track:
        faults.append(f"track {report.audio_track}")
    if given.stretches is not None:
        faults += _wrong_stretches(given.stretches, report)
    return faults


def _wrong_stretches(expected: tuple[tuple[float, float, str, float | None], ...], report: ScoreReport) -> list[str]:
    told = [s for s in report.stretches if s["state"] not in ("no_speech", "cannot_tell")]
    if [s["state"] for s in told] != [e[2] for e in expected]:
        return [f"stretches {[s['state'] for s in told]}"]
    faults = []
    for s, (start, end, state, lag) in zip(told, expected, strict=True):
        if abs(s["start_s"] - start) > EDGE_S or abs(s["end_s"] - end) > EDGE_S:
            faults.append(f"{state} from {s['start_s']} to {s['end_s']}")
        if lag is not None and abs((s["lag_ms"] or 0) - lag) > 40:
            faults.append(f"{state} by {s['lag_ms']} ms")
    return faults
