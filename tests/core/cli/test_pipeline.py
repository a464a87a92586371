"""The bundled model on the bundled clip: lag 0, every injected lag, sign and words, whatever the file's dress."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.containers import VARIANTS, lags
from synclip_core.demo import CLIP
from synclip_core.errors import SyncLipError
from synclip_core.media.audio import read_audio
from synclip_core.pipeline import SyncPipeline
from synclip_core.sync.align import write_aligned
from synclip_core.sync.measure import measure_sync
from synclip_core.tokens.streams import TokenStreams


@pytest.fixture(scope="module")
def pipeline() -> SyncPipeline:
    return SyncPipeline()


@pytest.fixture(scope="module")
def streams(pipeline: SyncPipeline) -> TokenStreams:
    return pipeline.tokens(CLIP)


def test_streams_are_one_row_a_frame(streams: TokenStreams) -> None:
    length = len(streams.audio)
    assert length == round(streams.duration_s * 25)
    for name in ("vocal", "identity", "ambient", "valid", "speech", "prompts", "track"):
        assert len(getattr(streams, name)) == length, name
    assert streams.valid.mean() > 0.95 and streams.faces == 1
    for tokens in (streams.audio, streams.vocal[streams.valid]):
        np.testing.assert_allclose(np.linalg.norm(tokens, axis=1), 1, atol=1e-4)


@pytest.mark.parametrize("lag", range(-12, 13))
def test_every_injected_lag_is_found(pipeline: SyncPipeline, streams: TokenStreams, lag: int) -> None:
    """Audio played `lag` frames early is a lag of +`lag`: the picture runs behind."""
    wave = read_audio(CLIP)[: len(streams.audio) * 640]
    moved = np.zeros_like(wave)
    shift = lag * 640
    if shift >= 0:
        moved[: len(wave) - shift] = wave[shift:]
    else:
        moved[-shift:] = wave[:shift]
    audio = pipeline.audio_tokens(moved)
    result = measure_sync(audio, streams.vocal, streams.valid, thresholds=pipeline.thresholds)
    assert result.lag_frames is not None and abs(result.lag_frames - lag) <= 1
    verdict = "in_sync" if abs(result.lag_frames) <= 1 else "audio_early" if lag > 0 else "audio_late"
    assert result.verdict == verdict
    if abs(lag) > 2:
        assert f"audio is {abs(result.lag_frames) * 40} ms {'early' if lag > 0 else 'late'}" in result.text


def test_lag_zero_is_in_sync(pipeline: SyncPipeline) -> None:
    seen = []
    report = pipeline.score(CLIP, progress=lambda done, total: seen.append((done, total)))
    assert (report.verdict, report.faces) == ("in_sync", 1)
    assert abs(report.lag_frames) <= 1 and report.score > 0.1
    assert seen[-1][0] == seen[-1][1] and len(seen) > 50


def test_a_shifted_file_is_repaired(pipeline: SyncPipeline, tmp_path: Path) -> None:
    write_aligned(CLIP, tmp_path / "late.mp4", 7)
    report = pipeline.score(tmp_path / "late.mp4")
    assert report.verdict == "audio_late" and abs(report.lag_frames + 7) <= 1
    write_aligned(tmp_path / "late.mp4", tmp_path / "repaired.mp4", report.lag_frames)
    assert pipeline.score(tmp_path / "repaired.mp4").verdict == "in_sync"


def test_containers_rates_and_turns_agree(pipeline: SyncPipeline, tmp_path: Path) -> None:
    names = {"mkv, Opus", "webm, VP9, Opus", "23.976 fps", "60 fps", "variable frame rate", "5.1", "1080p"}
    names |= {"mp4", "turned by 90 degrees"}
    chosen = tuple(v for v in VARIANTS if v.name in names)
    assert len(chosen) == len(names)
    found = lags(CLIP, pipeline, tmp_path, chosen)
    for name, row in found.items():
        assert row["verdict"] == "in_sync", (name, row)
        assert abs(row["from_median_ms"]) <= 20, (name, found)


def test_audio_tokens_do_not_depend_on_how_the_file_is_read(pipeline: SyncPipeline, streams: TokenStreams) -> None:
    wave = read_audio(CLIP)[: len(streams.audio) * 640]
    np.testing.assert_allclose(pipeline.audio_tokens(wave), streams.audio, atol=1e-3)


def test_face_by_index(pipeline: SyncPipeline, streams: TokenStreams) -> None:
    with pytest.raises(SyncLipError, match="only 1 face is seen"):
        SyncPipeline(pipeline.checkpoint, face="1").tokens(CLIP)
    found = SyncPipeline(pipeline.checkpoint, face="0").tokens(CLIP)
    np.testing.assert_array_equal(found.valid, streams.valid)


def test_no_media_says_so(pipeline: SyncPipeline, tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_bytes(b"")
    with pytest.raises(SyncLipError, match=r"x\.mp4"):
        pipeline.score(tmp_path / "x.mp4")
