"""Heads are fitted, chosen and reported as stated: against closed forms, and end to end with a pipeline of our own."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from synclip_core.attributes.head_file import load_head
from synclip_core.attributes.report import classify
from synclip_core.demo import CLIP
from synclip_core.errors import SyncLipError
from synclip_core.faces import geometry
from synclip_core.faces.track_output import TrackChunk
from synclip_core.pipeline import SyncPipeline
from synclip_core.tokens.streams import TokenStreams
from train.attributes import derived, features
from train.attributes import finetune as finetune_attributes
from train.attributes.dataset import Group
from train.attributes.features import FeatureCache, Features, thumbnails
from train.attributes.fit import UNKNOWN, fit_linear
from train.attributes.results.confusion_picture import draw_confusion
from train.attributes.results.figures import confusion_rows, group_figures, majority_figures
from train.evaluate import attributes_report
from train.evaluate import program as evaluate

# ---- fitting ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_the_fit_is_the_optimum_of_its_loss(kind: str) -> None:
    """At the optimum the gradient of the penalised loss is zero; unknown rows and labels take no part in it."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 4)) * [1, 10, 0.1, 1] + [0, 5, 0, -3]
    truth = rng.integers(0, 3, 300) if kind == "single" else rng.integers(0, 2, (300, 3))
    truth[:20] = UNKNOWN
    x[:20] = 1e6  # would ruin the standardisation
    if kind == "multi":
        truth[20:60, 1] = UNKNOWN
    fit = fit_linear(x, truth, kind, 3, l2=0.01)
    known, mean, scale = x[20:], x[20:].mean(0), x[20:].std(0)
    logits, t = fit(known), truth[20:]
    if kind == "single":
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        slope = (p - np.eye(3)[t]) / len(t)
    else:
        weight = t != UNKNOWN
        slope = (1 / (1 + np.exp(-logits)) - (t == 1)) * weight / weight.sum(0)
    standard = (known - mean) / scale
    gradient = slope.T @ standard + 0.01 * fit.weight * scale
    np.testing.assert_allclose(gradient, 0, atol=2e-5)
    np.testing.assert_allclose(slope.sum(0), 0, atol=2e-5)


def test_figures_of_a_known_case() -> None:
    group = Group("mood", "single", ("a", "b", "c"))
    p = np.array([[0.8, 0.1, 0.1], [0.2, 0.6, 0.2], [0.5, 0.3, 0.2], [0.9, 0.1, 0.0]])
    truth = np.array([0, 1, 2, UNKNOWN])
    found = group_figures(p, truth, group)
    assert found["count"] == 3 and found["accuracy"] == pytest.approx(2 / 3)
    assert found["macro_auc"] == pytest.approx((1 + 1 + 0.75) / 3)
    assert [c["positives"] for c in found["classes"]] == [1, 1, 1] and found["classes"][0]["precision"] == 0.5
    assert majority_figures(np.array([2, 2, 0]), truth, group)["accuracy"] == pytest.approx(1 / 3)
    many = Group("acts", "multi", ("x", "y"))
    p, truth = np.array([[0.9, 0.4], [0.2, 0.4]]), np.array([[1, 1], [UNKNOWN, 0]])
    assert group_figures(p, truth, many)["accuracy"] == pytest.approx((1 + 0.5) / 2)
    assert group_figures(p, truth, many, [0.95, 0.3])["accuracy"] == pytest.approx((0 + 0.5) / 2)
    np.testing.assert_array_equal(confusion_rows(p, truth, many, [0.5, 0.3]), [[1, 0, 0, 0], [1, 0, 1, 0]])
    assert majority_figures(np.array([[1, 0], [1, 0], [0, 1]]), truth, many)["accuracy"] == pytest.approx((1 + 0.5) / 2)


def test_the_picture_shades_each_truth_by_itself() -> None:
    group = Group("mood", "single", ("happy", "sad"))
    picture = np.asarray(draw_confusion(np.array([[1, 0], [30, 10]]), group, "mood")).astype(int)
    cells = [[picture[116 + 84 * i + 8, 220 + 84 * k + 8] for k in range(2)] for i in range(2)]
    assert cells[0][0].sum() < cells[1][0].sum() < cells[1][1].sum() < cells[0][1].sum()  # dark: the larger share


# ---- derived labels -----------------------------------------------------------------------------------------------


def seen(points: np.ndarray, speech: np.ndarray | None = None) -> Features:
    n = len(points)
    blank = np.zeros((n, 4), np.float32)
    speech = np.zeros(n, bool) if speech is None else speech
    eyes = np.zeros((n, 2, 14, 24), np.uint8)
    rest = (np.ones(n, bool), blank, points, eyes, np.zeros(n, np.float32), speech)
    return Features(blank, blank, blank, blank, *rest, "m")


def face(n: int) -> np.ndarray:
    points = np.zeros((n, 468, 2), np.float32)
    points[:, 33], points[:, 263] = (0.275, 0.33), (0.725, 0.33)
    points[:, 1] = (0.5, 0.5)
    points[:, 78], points[:, 308], points[:, 13], points[:, 14] = (0.4, 0.7), (0.6, 0.7), (0.5, 0.7), (0.5, 0.7)
    return points


def test_landmarks_give_the_labels_as_defined() -> None:
    points = face(9)
    points[1, 14, 1] += 0.05  # a quarter of the mouth's width
    points[2, 14, 1] += 0.03
    points[3, 1, 0] -= 0.13 * 0.45  # nose to the left of the picture
    points[4, 1, 0] += 0.13 * 0.45
    points[5, 1, 1] += 0.05 * 0.45
    points[6, 1, 1] -= 0.05 * 0.45
    turned = seen(points)
    turned.roll[7:] = np.radians([9, -9])
    turned.valid[0] = False
    truth = derived.derive(turned)
    assert truth["mouth"][:, 0].tolist() == [UNKNOWN, 1, 0, 0, 0, 0, 0, 0, 0]
    assert truth["head_turn"][:, 0].tolist() == [UNKNOWN, 0, 0, 1, 0, 0, 0, 0, 0]
    assert truth["head_turn"][:, 1].tolist() == [UNKNOWN, 0, 0, 0, 1, 0, 0, 0, 0]
    assert truth["head_nod"].tolist() == [UNKNOWN, 1, 1, 1, 1, 2, 0, 1, 1]
    assert truth["head_tilt"].tolist() == [UNKNOWN, 1, 1, 1, 1, 1, 1, 2, 0]


def test_speech_is_known_where_words_and_sound_agree() -> None:
    mask = np.zeros(50, bool)
    mask[10:40] = True
    truth = derived.speech_truth(mask, None)
    assert truth[:7].tolist() == [0] * 7 and truth[13:37].tolist() == [1] * 24
    assert (truth[7:13] == UNKNOWN).all() and (truth[37:43] == UNKNOWN).all()
    truth = derived.speech_truth(mask, [(0.4, 0.8), (1.0, 1.8)])  # no word from tick 20 to 25, words until 45
    assert (truth[20:25] == UNKNOWN).all() and (truth[40:45] == UNKNOWN).all()
    assert truth[15:20].tolist() == [1] * 5 and truth[46:].tolist() == [0] * 4


def test_words_are_read_without_the_pauses(tmp_path: Path) -> None:
    rows = ["file,start_s,end_s,word", "a.mp4,0,1,sil", "a.mp4,1,1.5,bin", "b.mp4,0,1,sil"]
    (tmp_path / derived.ALIGNMENTS).write_text("\n".join(rows))
    assert dict(derived.read_words(tmp_path)) == {"a.mp4": [(1.0, 1.5)], "b.mp4": []}
    assert not derived.read_words(tmp_path / "none")


# ---- features on disk ---------------------------------------------------------------------------------------------


def test_features_are_those_of_the_pipeline_and_kept(tmp_path: Path) -> None:
    pipeline = SyncPipeline()
    cache = FeatureCache(pipeline, tmp_path / "features")
    assert cache.fill([CLIP]) == {}
    want = pipeline.tokens(CLIP)
    made = cache.place(CLIP).stat().st_mtime_ns
    found = cache.get(CLIP)
    for name in ("vocal", "ambient", "identity", "valid", "speech"):
        np.testing.assert_array_equal(getattr(found, name), getattr(want, name), err_msg=name)
    # the rigid points lie where the canonical square says
    middle = np.median(found.points[found.valid][:, geometry.RIGID_POINTS], 0)
    np.testing.assert_allclose(middle, geometry.RIGID_TEMPLATE, atol=0.08)
    assert cache.place(CLIP).stat().st_mtime_ns == made, "made once"
    cache.place(CLIP).write_bytes(b"cut off")
    np.testing.assert_array_equal(cache.get(CLIP).vocal, found.vocal)
    pipeline.checkpoint.sha256 = "another"
    assert not cache.place(CLIP).exists(), "another checkpoint has features of its own"
    assert cache.fill([tmp_path / "none.mp4"])[tmp_path / "none.mp4"].endswith("No such file or directory")


def test_thumbnails_are_means() -> None:
    crops = np.zeros((1, 32, 32, 3), np.uint8)
    crops[0, :2, :2] = 200
    assert thumbnails(crops)[0].reshape(16, 16)[0, 0] == 200 and thumbnails(crops).sum() == 200


# ---- end to end ---------------------------------------------------------------------------------------------------

DIM, LENGTH = 8, 40


class FakePipeline:
    """Knows a clip's mood by its file name: it stands in the ambient token; the subject stands in the identity
    token."""

    def __init__(self, *_, **__) -> None:
        self.checkpoint = SimpleNamespace(sha256="f00d")
        self.model = SimpleNamespace(config=SimpleNamespace(dim=DIM, profile="fake-8", reach=lambda context: (0, 0)))

    def tokens(self, path, progress=None, *, sound=True, watch=None) -> TokenStreams:
        if "broken" in str(path):
            raise SyncLipError(f"{path}: is not a media file")
        subject, mood, _ = path.stem.split("-")
        rng = np.random.default_rng([int(subject), len(mood), int(path.stem.split("-")[2])])
        vocal, ambient, identity = rng.normal(size=(3, LENGTH, DIM)).astype(np.float32)
        ambient[:, 0] += 3 if mood == "happy" else -3
        identity[:] += np.random.default_rng(int(subject)).normal(size=DIM) * 5
        ticks, square = np.arange(LENGTH), np.tile(np.float32([[100, 0, 0], [0, 100, 0]]), (LENGTH, 1, 1))
        crops = np.full((LENGTH, 16, 16, 3), 10 * int(subject), np.uint8)
        points = face(LENGTH) * 100
        points[:, geometry.RIGID_POINTS] = geometry.RIGID_TEMPLATE * 100
        valid = np.ones(LENGTH, bool)
        watch(TrackChunk(0, ticks, crops, valid, square, points, np.zeros((LENGTH, 4)), np.ones(LENGTH)))
        zeros = np.zeros(LENGTH, np.int64)
        return TokenStreams(vocal, vocal, identity, ambient, valid, ~valid, vocal, zeros, LENGTH / 25, 1, "fake-8")


@pytest.fixture
def moods(tmp_path: Path, monkeypatch) -> Path:
    """clips.csv with 20 subjects in three splits, and the pipeline that knows them."""
    for module in (finetune_attributes, attributes_report):
        monkeypatch.setattr(module, "SyncPipeline", FakePipeline)
    monkeypatch.setattr(features, "probe", lambda path: SimpleNamespace(has_audio=False))
    with open(tmp_path / "clips.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "subject", "mood", "smiles"])
        for subject in range(20):
            for mood in ("happy", "sad"):
                for take in range(2):
                    name = f"{subject}-{mood}-{take}.mp4"
                    (tmp_path / name).write_bytes(name.encode())
                    writer.writerow([name, subject, mood, int(mood == "happy")])
        (tmp_path / "broken.mp4").touch()
        writer.writerow(["broken.mp4", 3, "sad", 0])
    return tmp_path


def train(folder: Path, out: str = "out") -> Path:
    arguments = ["--layout", "csv", "--data", str(folder / "clips.csv"), "--out", str(folder / out)]
    assert finetune_attributes.main(arguments) == 0
    return folder / out


def test_a_head_is_trained_reported_and_used(moods: Path, capsys) -> None:
    out = train(moods)
    report = json.loads((out / "report.json").read_text())
    assert report["subjects"] == {"train": 16, "val": 2, "test": 2} and report["seed"] == 0
    assert report["clips"] == {"train": 64, "val": 8, "test": 8}
    assert list(report["refused"]) == [str(moods / "broken.mp4")]
    mood = next(entry for entry in report["groups"] if entry["group"] == "mood")
    rows = {row["features"]: row for row in mood["rows"]}
    assert {"majority class", "raw pixels", "identity token", "vocal token", "ambient token"} <= set(rows)
    assert rows["(vocal + ambient) / 2, 80 frames"]["accuracy"] == 1.0 == rows["ambient token"]["macro_auc"]
    assert rows["(vocal + ambient) / 2, 16 frames"]["accuracy"] == 1.0
    # who is seen says nothing about the mood, nor does the grey of the picture
    assert rows["majority class"]["accuracy"] == 0.5 == rows["raw pixels"]["macro_auc"]
    assert rows["identity token"]["accuracy"] < 1 > rows["vocal token"]["accuracy"]
    text = (out / "report.txt").read_text()
    assert "mood: classes of the head" in text and "1 refused; seed 0" in text
    assert text.strip() in capsys.readouterr().out
    for name in ("mood", "labels"):
        with Image.open(out / f"confusion-{name}.png") as picture:
            assert picture.width > 300

    head = load_head(out / "attributes.safetensors")
    assert (head.model, head.profile, head.labels) == ("f00d", "fake-8", ("happy", "sad", "smiles"))
    streams = FakePipeline().tokens(moods / "5-happy-1.mp4", watch=lambda chunk: None)
    said = classify(streams.vocal, streams.ambient, streams.valid, head, model="f00d", frames=16)
    assert said.words.startswith("mood: happy (") and "labels: smiles" in said.words


def test_training_again_gives_the_same_head_without_reading_videos(moods: Path, monkeypatch) -> None:
    first = load_head(train(moods) / "attributes.safetensors")
    (moods / "again").mkdir()
    (moods / "out" / "features").rename(moods / "again" / "features")

    def never(self, path, *_, **__):
        if "broken" not in str(path):
            raise AssertionError(f"{path} was read again")
        raise SyncLipError(f"{path}: is not a media file")

    monkeypatch.setattr(FakePipeline, "tokens", never)
    again = load_head(train(moods, "again") / "attributes.safetensors")
    assert (again.groups, again.record, again.ambient_weight) == (first.groups, first.record, first.ambient_weight)
    np.testing.assert_array_equal(again.weight, first.weight)


def test_a_head_is_evaluated(moods: Path, capsys) -> None:
    head = train(moods) / "attributes.safetensors"
    out = moods / "evaluation.json"
    arguments = ["attributes", "--data", str(moods), "--head", str(head), "--out", str(out), "--cache"]
    assert evaluate.main([*arguments, str(moods / "out" / "features")]) == 0
    report = json.loads(out.read_text())
    assert report["clips"] == {"all": 8} and report["checkpoint"] == "f00d" and report["record"]["layout"] == "csv"
    figures = {(entry["group"], entry["sampled"]): entry for entry in report["groups"]}
    assert set(figures) == {(g, f"{n} frames") for g in ("mood", "labels") for n in (16, 80)}
    assert figures["mood", "80 frames"]["accuracy"] == 1.0 and figures["mood", "80 frames"]["largest_class"] == 0.5
    assert "largest class %" in capsys.readouterr().out


def test_what_cannot_be_trained_says_why(moods: Path, capsys) -> None:
    text = (moods / "clips.csv").read_text().splitlines()
    (moods / "few.csv").write_text("\n".join(line for line in text if line.startswith(("file", "1-"))))
    common = ["--layout", "csv", "--out", str(moods / "out"), "--data"]
    assert finetune_attributes.main([*common, str(moods / "few.csv")]) == 4
    assert "too few to split by subject" in capsys.readouterr().err
    assert finetune_attributes.main([*common, str(moods / "none.csv")]) == 4
    assert "expected a CSV table" in capsys.readouterr().err
    assert not (moods / "out" / "attributes.safetensors").exists()


# ---- the bundled head on real clips -------------------------------------------------------------------------------


def test_the_bundled_head_tells_speech_and_mouth_on_real_clips(data_dir: Path, tmp_path: Path) -> None:
    """Five clips of the test split that trained nothing: silence before and after GRID's sentences."""
    with open(data_dir / "clips.csv", newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["split"] == "test" and row["file"].startswith("grid_s1/")]
    pipeline, words = SyncPipeline(), derived.read_words(data_dir)
    cache, head = FeatureCache(pipeline, tmp_path), load_head()
    right: dict[str, list[bool]] = {"speaking": [], "mouth_open": []}
    said: list[bool] = []
    for row in rows[:5]:
        found = cache.get(data_dir / row["file"])
        report = classify(found.vocal, found.ambient, found.valid, head, model=found.model)
        truth = derived.derive(found, words[Path(row["file"]).name])
        for group, label in (("speech", "speaking"), ("mouth", "mouth_open")):
            k = head.labels.index(label)
            known = truth[group][:, 0] != UNKNOWN
            holds = report.probabilities[known, k] >= report.labels[k].threshold
            right[label] += (holds == (truth[group][known, 0] == 1)).tolist()
            said += (truth[group][known, 0] == 1).tolist() if label == "speaking" else []
    assert 0.4 < np.mean(said) < 0.9, "both speech and silence are there"
    assert np.mean(right["speaking"]) > 0.9 and np.mean(right["mouth_open"]) > 0.8
