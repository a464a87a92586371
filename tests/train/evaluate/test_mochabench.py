"""`train.evaluate mochabench` beside published figures that are made up, so that every answer is known."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_provider import FakeProvider, TwoKinds
from PIL import Image

from synclip_core.errors import SyncLipError
from train.evaluate.program import main
from train.evaluate.sync.mochabench import evaluate_mochabench, read_published

HEADER = ["file", "category", "syncnet_offset", "lse_c", "lse_d", "faces"]
OFFSETS = [0, 0, 2, 3, -4, 2, 5, -3]


def make_bench(folder: Path, rows: list[list[Any]] | None = None) -> Path:
    """Clips whose own lag is the published offset but for one that SyncNet is unsure of, one of two faces, one that it
    did not answer and one that fails."""
    clips = folder / "bench"
    clips.mkdir(parents=True)
    table = []
    for k, offset in enumerate(OFFSETS):
        (clips / f"c{k}.mp4").write_text(json.dumps({"seed": k, "seconds": 4, "own": offset}))
        table.append([f"bench/c{k}.mp4", "close" if k % 2 else "far", offset, 5.0 + k, 9.0 - k, 1])
    table[5][2:4] = [-9, 3.9]  # unsure
    table[6][5] = 2  # of two faces
    table[7][2] = ""  # no offset
    (clips / "bad.mp4").write_text("crash")
    table.append(["bench/bad.mp4", "far", 0, 8.0, 7.0, 1])
    with open(folder / "bench.csv", "w", newline="") as out:
        csv.writer(out).writerows([HEADER, *(rows if rows is not None else table)])
    return clips


def test_lags_are_held_against_the_published_ones_in_their_sign(tmp_path: Path) -> None:
    report, done = evaluate_mochabench(make_bench(tmp_path), FakeProvider(), quiet=True)
    row = report["tables"]["Lag against SyncNet's offset"][0]
    assert (row["sure clips"], row["both answered"], row["within 1"]) == (5, 5, 5)
    assert (row["within 1 %"], row["the same %"]) == (100, 100)
    assert (row["within 1 %, sign turned"], row["within 1 %, always 0"]) == (40, 40)  # only the two at 0 hold
    assert [row[f"our mean at {offset:+d}"] for offset in (-4, 0, 2, 3)] == [-4, 0, 2, 3]
    assert report["failed"] == [{"file": "bench/bad.mp4", "error": "decoder gave up"}] and len(done) == 8
    assert {r["category"]: r["clips"] for r in report["tables"]["By category"]} == {"close": 4, "far": 4}
    assert report["tables"]["By category"][0]["LSE-C"] == pytest.approx((6 + 8 + 3.9) / 3, abs=1e-3)
    json.dumps(report, allow_nan=False)


def test_rank_correlation_is_that_of_the_clips(tmp_path: Path) -> None:
    clips = make_bench(tmp_path)
    done = evaluate_mochabench(clips, FakeProvider(), quiet=True)[1]
    order = np.argsort(np.argsort([j.said[0].confidence for j in done]))
    rows = [[f"bench/c{k}.mp4", "x", 0, float(rank), float(rank), 1] for k, rank in enumerate(order)]
    with open(tmp_path / "bench.csv", "w", newline="") as out:
        csv.writer(out).writerows([HEADER, *rows])
    report = evaluate_mochabench(clips, FakeProvider(), quiet=True)[0]
    row = report["tables"]["Rank correlation (Spearman) with SyncNet's figures"][0]
    assert (row["n"], row["confidence, LSE-C"], row["confidence, -LSE-D"]) == (8, 1, -1)
    assert abs(row["score, LSE-C"]) < 1


def test_the_command_writes_a_row_a_clip_and_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = {name: str(tmp_path / f"out.{name}") for name in ("json", "csv", "png")}
    argv = ["mochabench", "--data", str(make_bench(tmp_path)), "--out", out["json"], "--csv", out["csv"]]
    assert main([*argv, "--picture", out["png"], "--cache", str(tmp_path / "cache")], lambda *_: TwoKinds()) == 0
    text = capsys.readouterr().out
    assert "positive when the video lags the audio" in text and "17 + 17" in text and "decoder gave up" in text
    with open(out["csv"], newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [r["file"] for r in rows] == [f"bench/c{k}.mp4" for k in range(8)]
    assert [int(r["single frame: lag_frames"]) for r in rows] == OFFSETS
    assert rows[7]["syncnet_offset"] == "" and float(rows[0]["context: confidence"]) > 0
    picture = np.asarray(Image.open(out["png"]).convert("RGB")).astype(int)
    assert picture.shape == (1240, 2480, 3)
    # the sure clip at -4, -4 stands left below the middle of the right panel, dotted in its category's colour
    x, y = 2 * (590 + 330 * (-4 + 5) / 10), 2 * (90 + 440 * (1 - (-4 + 5) / 10))
    near = picture[int(y) - 32 : int(y) + 32, int(x) - 24 : int(x) + 24].reshape(-1, 3)
    assert (np.abs(near - (26, 127, 55)).sum(1) < 30).any()


def test_what_does_not_fit_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mochabench", "--data", str(tmp_path / "none")], lambda *_: FakeProvider()) == 2
    assert "none.csv" in capsys.readouterr().err
    clips = make_bench(tmp_path, [["bench/c0.mp4", "x", "early", 1, 1, 1]])
    with pytest.raises(SyncLipError, match="bench.csv: could not convert"):
        read_published(clips)
    (tmp_path / "bench.csv").write_text("file,category\n")
    with pytest.raises(SyncLipError, match="lacks the column"):
        read_published(clips)


def test_the_published_table_is_read(data_dir: Path) -> None:
    if not (data_dir / "mochabench.csv").is_file():
        pytest.skip("mochabench is not here")
    found = read_published(data_dir / "mochabench")
    assert len(found) == 102 and all(clip.path.is_file() for clip in found)
    assert sum(clip.sure for clip in found) > 70 and sum(clip.offset is None for clip in found) == 1
