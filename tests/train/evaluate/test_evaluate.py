"""`train.evaluate` on a provider whose tokens are a fixed projection of the samples: every answer is known."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_provider import FakeProvider, make_data, project

from synclip_core.errors import SyncLipError
from synclip_core.metrics.clip_lag import shift_audio
from synclip_core.sync.verdict import SyncThresholds
from train.evaluate.clips import read_clips
from train.evaluate.program import main
from train.evaluate.sync.cache import CachedProvider
from train.evaluate.sync.measure import Reading
from train.evaluate.sync.report import evaluate_sync
from train.evaluate.sync.thresholds import Trial, fit_confidence, fit_thresholds
from train.evaluate.tables import format_table


def rows_of(report: dict[str, Any], title: str) -> list[dict[str, Any]]:
    return next(rows for name, rows in report["tables"].items() if name.startswith(title))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("eval") / "data")


@pytest.fixture(scope="module")
def perfect(data: Path) -> dict[str, Any]:
    return evaluate_sync(data, "test", FakeProvider(), seed=3, draws=3, quiet=True)


def test_subsets_and_counts(perfect: dict[str, Any]) -> None:
    # the copy of GRID's speaker among the web clips is a seen speaker
    assert perfect["clips"] == {"GRID seen speaker": 5, "unseen trusted": 1, "web real": 2, "web generated": 1}
    assert (perfect["seed"], perfect["split"], perfect["failed"], perfect["left_out"]) == (3, "test", [], [])
    json.dumps(perfect, allow_nan=False)


def test_perfect_tokens_give_perfect_numbers(perfect: dict[str, Any]) -> None:
    window = rows_of(perfect, "Window lag")
    assert {r["subset"] for r in window} == {"GRID seen speaker", "unseen trusted"}
    whole = [r for r in window if r["windows around"] == "all"]
    assert [(r["n@1"], r["n@5"], r["n@15"]) for r in whole] == [(225, 205, 155), (45, 41, 31)]
    assert all(r[f"Acc@{k} %"] == 100 and r[f"Offset@{k}"] == 0 for r in whole for k in (1, 5, 15))
    ranking = rows_of(perfect, "R-precision")
    assert {
        (r["subset"], r["pool"]): r["R@1 %"] for r in ranking if r["subset"] in ("GRID seen speaker", "unseen trusted")
    } == {
        (subset, pool): 100 for subset in ("GRID seen speaker", "unseen trusted") for pool in ("mixed", "same clip")
    }  # the web clips' own offset puts the true token two frames away
    assert all(r["R@1 %"] < 20 for r in ranking if r["subset"] == "web real")
    for row in rows_of(perfect, "Clip lag"):
        assert (row["within 1 %"], row["error ms"], row["within 1 % (speech)"]) == (100, 0, 100), row
    assert [r["length"] for r in rows_of(perfect, "Clip lag") if r["subset"] == "unseen trusted"] == [
        "1 s",
        "2 s",
        "3 s",
        "whole",
    ]


def test_consistency_and_own_offsets(perfect: dict[str, Any]) -> None:
    rows = rows_of(perfect, "Shift consistency")
    assert all(r["consistent %"] == 100 for r in rows if r["length"] != "1 s")
    own = {r["subset"]: (r["own mean"], r["own std"], r["own lags"]) for r in rows if r["length"] == "whole"}
    assert own["web real"] == (-2, 0, "-2:2") and own["web generated"] == (3, 0, "+3:1")
    assert {r["length"] for r in rows if r["subset"] == "web real"} == {"1 s", "2 s", "3 s", "5 s", "10 s", "whole"}


def test_detection_and_verdicts(perfect: dict[str, Any]) -> None:
    trusted = [r for r in rows_of(perfect, "In-sync") if r["subset"] == "GRID seen speaker"]
    assert [(r["AUC"], r["AUC cosine"], r["accuracy % (ends)"]) for r in trusted] == [(1, 1, 100)]
    assert [(r["TP"], r["FN"], r["TN"], r["FP"]) for r in trusted] == [(5, 0, 30, 0)]
    expected = {"untouched": "in_sync", "audio early": "audio_early", "audio late": "audio_late"}
    for row in rows_of(perfect, "Verdicts (whole"):
        if row["subset"] in ("GRID seen speaker", "unseen trusted"):
            assert row[expected[row["truth"]]] == row["trials"], row
    web = {(r["subset"], r["truth"]): r for r in rows_of(perfect, "Verdicts (whole")}
    assert web["web real", "untouched"]["audio_late"] == 2 and web["web generated", "untouched"]["audio_early"] == 1


def test_blind_tokens_give_chance(data: Path) -> None:
    report = evaluate_sync(data, "test", FakeProvider(blind=True), draws=6, quiet=True)
    row = next(r for r in rows_of(report, "R-precision") if (r["subset"], r["pool"]) == ("web real", "mixed"))
    assert row["queries"] == 550 and row["R@1 %"] == pytest.approx(100 / 32, abs=3)
    lag = [r for r in rows_of(report, "Clip lag") if r["clips with"] == "all"]
    hits = sum(r["within 1 %"] * r["shifts"] for r in lag) / sum(r["shifts"] for r in lag)
    assert hits == pytest.approx(9.7, abs=8)
    verdicts = rows_of(report, "Verdicts (whole")
    assert sum(r["cannot_tell"] for r in verdicts) > 0.95 * sum(r["trials"] for r in verdicts)


def test_one_seed_one_report(data: Path) -> None:
    first, again, other = (
        evaluate_sync(data, "val", FakeProvider(True), seed=s, draws=2, quiet=True) for s in (1, 1, 2)
    )
    assert first == again and first["tables"] != other["tables"]


def test_failures_are_listed_and_change_no_other_clip(data: Path, tmp_path: Path, perfect: dict[str, Any]) -> None:
    extra = [("talk/bad.mp4", "test", "real", "crash"), ("talk/dark.mp4", "test", "real", "no face")]
    report = evaluate_sync(make_data(tmp_path / "d", extra), "test", FakeProvider(), seed=3, draws=3, quiet=True)
    assert [f["file"] for f in report["failed"]] == ["talk/bad.mp4", "talk/dark.mp4"]
    assert report["failed"][0]["error"] == "decoder gave up" and "no face was found" in report["failed"][1]["error"]
    assert report["tables"] == perfect["tables"]


def test_cache_keeps_parts_by_content_and_fingerprint(data: Path, tmp_path: Path) -> None:
    clips, _ = read_clips(data, "test")
    inner = FakeProvider()
    cached = CachedProvider(inner, tmp_path / "cache")
    first = cached.parts(clips[0].path)
    again = cached.parts(clips[0].path)
    assert inner.made == 1
    for name in ("frames", "track", "waveform"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    next((tmp_path / "cache").iterdir()).write_bytes(b"damaged")
    np.testing.assert_array_equal(cached.parts(clips[0].path).frames, first.frames)
    assert inner.made == 2
    inner.fingerprint = "f1"
    CachedProvider(inner, tmp_path / "cache").parts(clips[0].path)
    assert inner.made == 3 and len(list((tmp_path / "cache").iterdir())) == 2
    with pytest.raises(SyncLipError, match="cannot be read"):
        cached.parts(data / "gone.mp4")


def test_thresholds_keep_their_promise_and_travel(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "thresholds.json"
    argv = ["--data", str(data), "--out", str(out), "--draws", "3"]
    assert main(["thresholds", "--split", "val", *argv], lambda *_: FakeProvider()) == 0
    report = json.loads(out.read_text())
    limits = SyncThresholds.from_dict(report["thresholds"])
    assert limits.confidence != SyncThresholds().confidence
    rows = report["tables"]["Verdicts on cuts (web clips: own lag taken off)"]
    assert {r["clips"] for r in rows} == {"trusted", "web"} and report["web_clips_without_a_clear_lag"] == {
        "single frame": 0
    }
    for group in ("trusted", "web"):
        claims = [(r["lag for foreign audio %"], r["foreign"]) for r in rows if r["clips"] == group]
        assert sum(p * n for p, n in claims) / sum(n for _, n in claims) <= 5.01
    for r in rows:
        assert (r["false alarm %"], r["miss %"], r["wrong lag %"], r["cannot tell %"]) == (0, 0, 0, 0), r
    assert all(r["accuracy %"] == 100 for r in report["tables"]["In-sync score, cuts of 3 s and more"])
    assert "confidence = " in capsys.readouterr().out
    argv = [*argv[:2], "--draws", "1", "--thresholds", str(out), "--out", str(tmp_path / "sync.json")]
    assert main(["sync", *argv], lambda *_: FakeProvider()) == 0
    assert json.loads((tmp_path / "sync.json").read_text())["thresholds"] == {"single frame": report["thresholds"]}


@pytest.mark.parametrize("face_s", [1.0, 4.0, 30.0])
def test_confidence_threshold_is_the_tightest_that_keeps_the_promise(face_s: float) -> None:
    base = SyncThresholds()
    trials = [
        Trial(group, 3, None, Reading(4, 4, 4.0, 0.001 * i * scale, 0.0, 0.0), face_s, face_s, face_s)
        for group, scale in (("trusted", 1), ("web", 2))
        for i in range(1, 101)
    ]
    limits = replace(base, confidence=fit_confidence(trials, base, 0.05))
    claims = {g: [t.verdict(limits) != "cannot_tell" for t in trials if t.group == g] for g in ("trusted", "web")}
    assert np.mean(claims["web"]) <= 0.05 and not any(claims["trusted"])
    looser = replace(limits, confidence=0.98 * limits.confidence)
    assert np.mean([t.verdict(looser) != "cannot_tell" for t in trials if t.group == "web"]) > 0.05


def test_thresholds_refuse_a_test_split(data: Path) -> None:
    with pytest.raises(SyncLipError, match="reporting only"):
        fit_thresholds(data, "test", FakeProvider(), quiet=True)


def test_command_line_tells_what_is_wrong(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def fake(*_: Any) -> FakeProvider:
        return FakeProvider()

    assert main(["sync", "--data", str(tmp_path)], fake) == 2
    assert "clips.csv" in capsys.readouterr().err
    assert main(["sync", "--data", str(data), "--split", "dev"], fake) == 2
    assert "it has test, val" in capsys.readouterr().err
    (tmp_path / "t.json").write_text("[1]")
    assert main(["sync", "--data", str(data), "--thresholds", str(tmp_path / "t.json")], fake) == 2
    assert "JSON object" in capsys.readouterr().err
    (tmp_path / "skip.csv").write_text("file,reason\ntalk/testg.mp4,music only\n")
    argv = [
        "sync",
        "--data",
        str(data),
        "--draws",
        "1",
        "--exclude",
        str(tmp_path / "skip.csv"),
        "--cache",
        str(tmp_path / "c"),
    ]
    assert main([*argv, "--out", str(tmp_path / "r.json")], fake) == 0
    text = capsys.readouterr().out
    assert "left out: talk/testg.mp4: music only" in text and "Acc@15 %" in text
    assert json.loads((tmp_path / "r.json").read_text())["clips"]["web generated"] == 0
    assert main([*argv, "--out", str(tmp_path / "no" / "r.json")], fake) == 2


def test_table_is_aligned() -> None:
    lines = format_table("T", [{"name": "a", "n": 5}, {"name": "long", "n": None}, {"name": "b", "n": 12.345}]).split(
        "\n"
    )
    assert lines == ["T", "  name      n", "  ----  -----", "  a         5", "  long      -", "  b     12.35"]


def test_fake_provider_sign_is_the_contract(data: Path) -> None:
    """A clip of own lag -2 comes into sync when its audio is moved by +2: the fake speaks the contract's sign."""
    clips, _ = read_clips(data, "test")
    parts = FakeProvider().parts(next(c for c in clips if c.subset == "web real").path)
    moved = project(shift_audio(parts.waveform, 2))
    assert np.mean(np.sum(moved * parts.frames, axis=1)[5:-5]) > 0.9
