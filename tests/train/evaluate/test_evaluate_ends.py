"""No end of a clip may vote: figures with and without the ticks that know an end, on tokens whose ends are marked."""

import dataclasses
import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fake_provider import FakeProvider, TwoKinds, make_data

import synclip_core
from synclip_core.checkpoint import save_checkpoint
from synclip_core.demo import CLIP
from synclip_core.errors import SyncLipError
from synclip_core.metrics.distance import distance_band
from synclip_core.metrics.window_lag import window_lag
from synclip_core.models.config import PROFILES, AudioConfig, ContextConfig, SyncLipMAEConfig, tiny
from synclip_core.models.synclipmae import SyncLipMAE
from synclip_core.pipeline import SyncPipeline
from synclip_core.sync.verdict import SyncThresholds
from train.evaluate.clips import UNSEEN, Clip
from train.evaluate.fingerprint import fingerprint_of
from train.evaluate.sync.cuts import cut, foreign_cuts
from train.evaluate.sync.provider import CONTEXT, ClipParts, PipelineProvider, View, kinds_of, long_tracks, view_of
from train.evaluate.sync.report import evaluate_sync, sync_text
from train.evaluate.sync.tokens import inside, make_tokens


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    data = make_data(tmp_path_factory.mktemp("ends") / "data")
    return evaluate_sync(data, "test", TwoKinds(), draws=10, quiet=True)


def rows_of(report: dict[str, Any], title: str, **where: str) -> list[dict[str, Any]]:
    rows = next(rows for name, rows in report["tables"].items() if name.startswith(title))
    return [row for row in rows if all(row[key] == value for key, value in where.items())]


def test_marked_ends_put_foreign_sound_in_sync_only_where_they_count(report: dict[str, Any]) -> None:
    rows = {(r["tokens"], r["length"]): r for r in rows_of(report, "Foreign sound", subset="all")}
    for length in ("1 s", "2 s", "3 s"):
        marked, plain = rows["context", length], rows["single frame", length]
        assert marked["lag 0 +-1 % (ends)"] > 95 and marked["chance % (ends)"] == 9.7
        assert plain["lag 0 +-1 %"] < 25 and plain["lag 0 +-1 % (ends)"] < 25 and plain["chance %"] == 9.7
    assert rows["context", "3 s"]["lag 0 +-1 %"] < 25 and rows["context", "3 s"]["chance %"] == 9.7
    assert rows["context", "1 s"]["chance %"] == 33.3  # 9 ticks are left: only 9 lags have 5 pairs


def test_a_probe_reads_marked_ends_and_nothing_else(report: dict[str, Any]) -> None:
    rows = {(r["tokens"], r["stream"]): r for r in rows_of(report, "Position probe")}
    for stream in ("vocal", "audio"):
        for side in ("AUC start", "AUC end"):
            assert rows["context", stream][side] > 0.98, (stream, side)
            assert rows["single frame", stream][side] == pytest.approx(0.5, abs=0.08), (stream, side)


def test_both_kinds_stand_in_rows_of_their_own_with_what_they_see(report: dict[str, Any]) -> None:
    for title in report["tables"]:
        kinds = {(r["tokens"], r["sees"]) for r in rows_of(report, title)}
        assert kinds == {("single frame", "1 + 1"), ("context", "17 + 17")}, title
    assert report["views"]["context"] == {"vocal_reach": 8, "audio_reach": 8}
    whole = {r["tokens"]: r for r in rows_of(report, "Window lag", subset=UNSEEN, **{"windows around": "all"})}
    assert (whole["single frame"]["n@1"], whole["context"]["n@1"]) == (45, 29)  # 8 ticks less on each side
    assert whole["context"]["Acc@1 %"] == whole["single frame"]["Acc@1 %"] == 100
    ranks = rows_of(report, "R-precision", tokens="context", subset=UNSEEN, pool="mixed")[0]
    assert ranks["queries"] == 59
    text = sync_text(report)
    assert "17 + 17" in text and "with ticks whose context reaches past an end" in text


def test_verdicts_on_cuts_tell_right_from_wrong_and_from_no_answer(report: dict[str, Any]) -> None:
    rows = rows_of(report, "Verdicts on cuts", tokens="single frame", subset=UNSEEN)
    assert {r["length"] for r in rows} == {"1 s", "2 s", "3 s", "whole"}
    for row in rows:
        if row["truth"] == "foreign":
            assert row["answered %"] + row["right %"] == 100, row
        else:
            assert (row["answered %"], row["right %"], row["wrong %"]) == (100, 100, 0), row
            assert row["called in sync %"] == (100 if row["truth"] == "untouched" else 0), row
    marked = rows_of(report, "Verdicts on cuts", tokens="context", truth="foreign", length="2 s")
    assert all(r["called in sync %"] > 90 and r["right %"] < 10 for r in marked)
    shifted = rows_of(report, "Verdicts on cuts", tokens="context", truth="shifted", length="1 s", subset=UNSEEN)[0]
    assert shifted["wrong %"] > 50 and shifted["called in sync %"] > 50  # the marks outweigh the voice in a second


def test_ticks_inside_are_those_whose_context_is() -> None:
    track = np.array([-1, 0, 0, 0, 0, -1, 0, 1, 1, 1, 1, 1, -1])
    view = View(CONTEXT, (1, 2), SyncThresholds())
    heard, seen = inside(track, view)
    assert heard.nonzero()[0].tolist() == [2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert seen.nonzero()[0].tolist() == [2, 3, 4, 8, 9, 10]  # a gap inside a track is no end; tick 5 has no face
    heard, seen = inside(track, View("", (0, 0), SyncThresholds()))
    assert heard.all() and (seen == (track >= 0)).all()
    assert long_tracks(track).tolist() == [-1] * 13 and long_tracks(np.zeros(3, int)).tolist() == [0, 0, 0]


def test_a_cut_knows_nothing_of_the_rest_of_its_clip() -> None:
    class Centred(FakeProvider):
        """A model that takes a track's mean off its frames."""

        def vocal_tokens(self, frames: np.ndarray, valid: np.ndarray) -> list[np.ndarray]:
            return [frames - frames[valid].mean(0)]

    generator = np.random.default_rng(0)
    frames = generator.standard_normal((100, 64)).astype(np.float32) + np.linspace(0, 9, 100, dtype=np.float32)[:, None]
    track = np.repeat([0, 1], 50)
    parts = ClipParts(frames, track, np.arange(64000, dtype=np.float32))
    whole = make_tokens(Centred(), parts)[0]
    part = cut(parts, 2, generator)
    assert part is not None and len(part) == 50 and len(part.waveform) == 32000
    start = int(part.waveform[0]) // 640
    assert 8 <= start <= 42
    own = make_tokens(Centred(), part)[0].vocal
    for k in (0, 1):  # each track by itself
        np.testing.assert_allclose(own[part.track == k].mean(0), 0, atol=1e-4)
    assert np.abs(own - whole.vocal[start : start + 50]).max() > 0.1
    assert cut(parts, 5, generator) is None
    entire = cut(parts, 4, generator)
    assert entire is not None
    np.testing.assert_array_equal(make_tokens(Centred(), entire)[0].vocal, whole.vocal)


def test_foreign_sound_is_of_another_person_and_of_no_fixed_place() -> None:
    def parts(seconds: int, value: float) -> ClipParts:
        ticks = 25 * seconds
        wave = np.full(640 * ticks, value, np.float32)
        return ClipParts(np.zeros((ticks, 4), np.float32), np.zeros(ticks, np.int64), wave)

    def clip(name: str, person: str) -> Clip:
        return Clip(name, Path(name), UNSEEN, person)

    short = {"a": (clip("a", "p"), parts(3, 1)), "b": (clip("b", "q"), parts(3, 2)), "c": (clip("c", "p"), parts(9, 3))}
    generator = np.random.default_rng(0)
    sounds = [set(np.unique(f.waveform)) for f in foreign_cuts(short["a"][0], short, 2, 20, generator)]
    assert sounds == [{2.0}] * 20  # c is the same person
    assert not list(foreign_cuts(short["a"][0], short, 3, 20, generator))  # whole files of one length
    assert len(list(foreign_cuts(short["c"][0], short, 3, 20, generator))) == 20


def test_audio_ticks_that_do_not_count_take_no_part() -> None:
    generator = np.random.default_rng(0)
    audio, vocal = generator.standard_normal((2, 60, 8))
    heard = np.arange(60) % 3 > 0
    band = distance_band(audio, vocal, heard=heard)
    np.testing.assert_array_equal(band[heard], distance_band(audio, vocal)[heard])
    assert np.isnan(band[~heard]).all()
    inner = (np.arange(60) >= 10) & (np.arange(60) < 50)
    found = window_lag(audio, vocal, valid=inner, heard=inner)
    assert (found[1].windows, found[5].windows) == (60 - 20 - 30, 60 - 20 - 30 - 4)


def test_kinds_of_tokens_of_a_model() -> None:
    old = PROFILES["tiny"]()
    vocal = dataclasses.replace(old.vocal, context_depth=4, context_kernel=5)
    audio = dataclasses.replace(old.audio, adapter_depth=4, adapter_kernel=5)
    changes: dict[str, Any] = {"vocal": vocal, "audio": audio}
    if hasattr(old, "context"):
        changes["context"] = dataclasses.replace(old.context, depth=0)
    assert kinds_of(dataclasses.replace(old, **changes)) == [("context", True)]
    assert kinds_of(PROFILES["paper"]()) == [("single frame", True)]
    if hasattr(SyncLipMAEConfig(), "context"):
        assert kinds_of(PROFILES["tiny"]()) == [("single frame", False), ("context", True)]


def test_what_a_speech_encoder_hears_is_told() -> None:
    def model(**encoder: Any) -> SimpleNamespace:
        kind = "mel" if not encoder else "other"
        config = SimpleNamespace(
            audio=SimpleNamespace(front_end=kind), reach=lambda context: (8, 8) if context else (0, 0)
        )
        return SimpleNamespace(config=config, front_end=SimpleNamespace(**encoder))

    assert view_of(model(), "x", True, SyncThresholds()).sees == "17 + 17"
    band = view_of(model(band=8, reach=17), "x", False, SyncThresholds())
    assert (band.reach, band.sees) == ((0, 17), "1 + 35")
    assert view_of(model(reach=0), "x", True, SyncThresholds()).sees == "17 + whole clip"


def test_tokens_from_parts_are_those_of_the_pipeline() -> None:
    provider = PipelineProvider()
    parts = provider.parts(CLIP)
    tokens = make_tokens(provider, parts)[-1]
    found = SyncPipeline().tokens(CLIP)
    np.testing.assert_allclose(tokens.vocal, found.vocal, atol=1e-5)
    np.testing.assert_allclose(tokens.audio, found.audio, atol=2e-3)  # the whole sound at once, or in blocks
    np.testing.assert_array_equal(tokens.valid, found.valid)
    half = make_tokens(provider, parts.cut(0, 30))[-1]
    reach = provider.views[-1].reach[0]
    if reach:
        inner = np.abs(half.vocal - tokens.vocal[:30]).max(1)
        assert inner[-reach:].max() > 5 * inner[: 30 - reach].max() or inner[-reach:].max() > 0.05


def test_the_cache_key_follows_sources_and_face_nets(tmp_path: Path) -> None:
    package = tmp_path / "synclip_core"
    for name in (
        "media/video.py",
        "metrics/lse.py",
        "weights/face_mesh.safetensors",
        "weights/reader_grid.safetensors",
    ):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_bytes(b"1")
    first = fingerprint_of(package, ["av 14"])
    for name, follows in (
        ("media/video.py", True),
        ("weights/face_mesh.safetensors", True),
        ("metrics/lse.py", False),
        ("weights/reader_grid.safetensors", False),
    ):
        (package / name).write_bytes(b"2")
        assert (fingerprint_of(package, ["av 14"]) != first) is follows, name
        (package / name).write_bytes(b"1")
    assert fingerprint_of(package, ["av 14"]) == first != fingerprint_of(package, ["av 15"])
    shutil.copytree(package / "media", package / "faces")  # a new folder counts until it is known to stand downstream
    assert fingerprint_of(package, ["av 14"]) != first
    real = Path(synclip_core.__file__).parent
    assert {"face_mesh.safetensors", "blazeface_full.safetensors"} <= {
        p.name for p in real.glob("weights/*.safetensors")
    }


def test_a_cache_keyed_by_nothing_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "video.py").write_text("1")
    with pytest.raises(SyncLipError, match="1 sources and 0 face networks"):
        fingerprint_of(tmp_path, [])


def test_report_is_plain_json(report: dict[str, Any]) -> None:
    json.dumps(report, allow_nan=False)


def test_an_evaluation_hears_once_for_both_kinds(tmp_path: Path) -> None:
    audio = AudioConfig("whisper", align="rows", width=64, depth=2, encoder={"band": 8})
    model = SyncLipMAE(replace(tiny(), audio=audio, context=ContextConfig(depth=1, kernel=5, width=16)))
    save_checkpoint(tmp_path / "both.safetensors", model, {})
    provider = PipelineProvider(tmp_path / "both.safetensors")
    calls = []
    provider.pipelines[-1].model.front_end.register_forward_pre_hook(lambda *_: calls.append(1))
    wave = np.random.default_rng(0).normal(0, 0.1, 640 * 50).astype(np.float32)
    found = provider.audio_tokens(wave)
    assert len(calls) == 1 and len(found) == len(provider.views) == 2
    for own, pipeline in zip(found, provider.pipelines, strict=True):
        np.testing.assert_allclose(own, pipeline.audio_tokens(wave), atol=1e-6)
