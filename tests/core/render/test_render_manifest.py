"""Manifest and workflow: which column fills what, with which type, and what is wrong before anything is queued."""

import json
from pathlib import Path

import pytest
from fake_comfy import WORKFLOW

from synclip_core.cli.shared.inputs import videos_of
from synclip_core.errors import SyncLipError
from synclip_core.render.manifest import read_folder, read_manifest
from synclip_core.render.names import distinct, safe_name, upload_name
from synclip_core.render.server.workflow import Target, Workflow, load_workflow


@pytest.fixture
def read(tmp_path):
    def call(text, graph=WORKFLOW, encoding="utf-8", **options):
        (tmp_path / "jobs.csv").write_bytes(text.encode(encoding))
        return read_manifest(tmp_path / "jobs.csv", Workflow(graph, tmp_path / "flow.json"), **options)

    return call


@pytest.mark.parametrize("column", ["seed", "2.seed", "Work.seed"])
def test_a_column_is_a_title_an_id_or_a_bare_input(read, column):
    (row,) = read(f"{column}\n41\n")
    assert row.graph["2"]["inputs"] == WORKFLOW["2"]["inputs"] | {"seed": 41}
    assert row.graph["1"]["inputs"] == WORKFLOW["1"]["inputs"] and "_meta" not in row.graph["2"]


def test_the_workflow_itself_stays_as_it_is(read):
    before = json.dumps(WORKFLOW)
    first, second = read("seed\n1\n2\n")
    assert json.dumps(WORKFLOW) == before
    assert [row.graph["2"]["inputs"]["seed"] for row in (first, second)] == [1, 2]


def test_an_unknown_column_is_told_what_there_is(read):
    with pytest.raises(SyncLipError, match="column 'sead' names no input") as error:
        read("sead\n1\n")
    named = str(error.value).split("There are: ")[1].rstrip(".").split(", ")
    assert (
        named
        == "Load Video.file, Work.seed, Work.strength, Work.ratio, Work.name, Work.fast, 3.prefix, 4.prefix".split(", ")
    )
    for name in named:  # and every name that it says works
        Workflow(WORKFLOW, Path("flow.json")).resolve(name)


def test_a_link_is_no_input_to_fill(read):
    with pytest.raises(SyncLipError, match="'Work.video' names no input"):
        read("Work.video\na.mp4\n")


@pytest.mark.parametrize("column", ["prefix", "Save.prefix"])
def test_an_ambiguous_column_is_told_the_choices(read, column):
    with pytest.raises(SyncLipError, match="fits 2 inputs.*write 3.prefix or 4.prefix"):
        read(f"{column}\nx\n")


def test_two_columns_of_one_input_are_refused(read):
    with pytest.raises(SyncLipError, match="'seed' and '2.seed' fill the same input"):
        read("seed,2.seed\n1,2\n")


@pytest.mark.parametrize("kind, name", [("LoadVideo", "file"), ("LoadAudio", "audio"), ("LoadImage", "image")])
def test_video_audio_image_mean_the_only_loader(kind, name):
    alias = kind[4:].lower()
    other = {"class_type": "FixSync", "inputs": {alias: "encode"}}
    graph = {"1": {"class_type": kind, "inputs": {name: "x"}}, "2": other}
    assert Workflow(graph, Path("flow.json")).resolve(alias) == Target("1", name)
    assert Workflow({"2": other}, Path("flow.json")).resolve(alias) == Target("2", alias)
    graph["3"] = graph["1"]
    with pytest.raises(SyncLipError):
        Workflow({k: graph[k] for k in "13"}, Path("flow.json")).resolve(alias)


def test_values_take_the_workflows_type(read):
    (row,) = read("seed,ratio,name,fast\n 12345678901234567890 ,2,1e3,TRUE\n")
    inputs = row.graph["2"]["inputs"]
    assert [inputs[k] for k in ("seed", "ratio", "name", "fast")] == [12345678901234567890, 2.0, "1e3", True]
    assert type(inputs["ratio"]) is float


@pytest.mark.parametrize(
    "column, text, words",
    [
        ("seed", "many", "expected a number, got 'many'"),
        ("ratio", "nan", "expected a number, got 'nan'"),
        ("ratio", "0,5", "expected a number"),
        ("fast", "maybe", "expected true or false, got 'maybe'"),
        ("video", "none.mp4", "none.mp4: cannot be read"),
    ],
)
def test_a_bad_value_names_row_and_column(read, column, text, words):
    with pytest.raises(SyncLipError) as error:
        read(f'id,{column}\nfirst,\nsecond,"{text}"\n')
    assert f"line 3 (row second), column {column}: " in str(error.value) and words in str(error.value)


def test_a_fraction_for_a_whole_number_is_kept_for_the_server_to_judge(read):
    """ComfyUI exports 1.0 as 1: the workflow's `strength` may well be a float."""
    (row,) = read("strength,seed\n0.25,3\n")
    assert row.graph["2"]["inputs"]["strength"] == 0.25
    assert list(row.fractions.values()) == [Target("2", "strength")]
    assert "column strength" in next(iter(row.fractions))


def test_an_empty_cell_leaves_the_workflows_value(read):
    (row,) = read("seed,video,name\n,,\n".replace("\n,,", "\n5,,"))
    assert row.graph["2"]["inputs"]["name"] == "a" and row.graph["1"]["inputs"]["file"] == "speech.mp4"
    assert row.graph["2"]["inputs"]["seed"] == 5 and not row.files


def test_files_are_named_by_their_content(read, tmp_path):
    for folder, content in (("a", b"one"), ("b", b"two"), ("c", b"one")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "my clip [input].MP4").write_bytes(content)
    rows = read("video\n" + "".join(f"{folder}/my clip [input].MP4\n" for folder in "abc"))
    names = [row.graph["1"]["inputs"]["file"] for row in rows]
    assert names[0] == names[2] != names[1]
    assert names[0].startswith("my-clip-input-") and names[0].endswith(".mp4")
    assert rows[1].files == {names[1]: tmp_path / "b" / "my clip [input].MP4"}
    assert rows[0].key == rows[2].key != rows[1].key
    (tmp_path / "a" / "my clip [input].MP4").write_bytes(b"three")
    assert upload_name(rows[0].files[names[0]]) != names[0]


def test_further_columns_can_be_uploads(read, tmp_path):
    (tmp_path / "voice.txt").write_text("x")
    (row,) = read("name\nvoice.txt\n", uploads=["name"])
    assert list(row.files.values()) == [tmp_path / "voice.txt"] and row.graph["2"]["inputs"]["name"] in row.files
    (row,) = read("name\nvoice.txt\n")
    assert row.graph["2"]["inputs"]["name"] == "voice.txt" and not row.files
    with pytest.raises(SyncLipError, match="--upload 'nome' is no column"):
        read("name\nvoice.txt\n", uploads=["nome"])


def test_ids_name_folders_and_are_unique(read):
    assert [row.id for row in read("seed\n1\n\n2\n")] == ["0001", "0002"]
    rows = read("id,seed\n../../etc,1\nresults.csv,2\nCON,3\n")
    assert [row.folder for row in rows] == ["_._etc", "results.csv_", "_CON"]
    for text, words in (
        ("1,1\n1,2", "'1' appears twice"),
        ("a/b,1\nA_b,2", "would share the folder"),
        (",1", "is empty"),
    ):
        with pytest.raises(SyncLipError, match=words):
            read(f"id,seed\n{text}\n")


def test_spreadsheets_of_all_kinds_are_read(read):
    want = [("é", 1), ("b,c", 2)]
    for text, encoding in (('id,seed\r\né,1\r\n"b,c",2\r\n', "utf-8-sig"), ("id; seed\né;1\nb,c;2\n", "utf-8")):
        rows = read(text, encoding=encoding)
        assert [(row.id, row.graph["2"]["inputs"]["seed"]) for row in rows] == want


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "first line must name every column"),
        ("seed,,name\n1,2,3\n", "first line must name every column"),
        ("seed,seed\n1,2\n", "each once"),
        ("seed\n", "no rows"),
        ("seed\n1,2\n", "line 2: 2 cells"),
        ('seed\n"1\n', "no CSV file"),
    ],
)
def test_what_is_no_manifest_is_refused(read, text, words):
    with pytest.raises(SyncLipError, match=words):
        read(text)


def test_wrong_encoding_is_refused(read):
    with pytest.raises(SyncLipError, match="no CSV file in UTF-8"):
        read("name\nÄ\n", encoding="latin-1")


@pytest.mark.parametrize(
    "content, words",
    [
        ("{", "is not JSON"),
        ('{"nodes": [], "links": []}', r"UI format.*Export \(API\)"),
        ('{"1": {"inputs": {}}}', "no workflow in API format"),
        ("[]", "no workflow in API format"),
    ],
)
def test_what_is_no_api_workflow_is_refused(tmp_path, content, words):
    (tmp_path / "flow.json").write_text(content)
    with pytest.raises(SyncLipError, match=words):
        load_workflow(tmp_path / "flow.json")


def test_names_from_elsewhere_stay_in_their_folder():
    for evil in ("../../x", "..", "/etc/passwd", "C:\\x", "a\0b", "", ".hidden", "nul.txt", "é" * 300 + ".png", "a:b"):
        name = safe_name(evil)
        assert name and not set(name) & set("/\\:\0") and name[0] != "." and len(name.encode()) <= 160, evil
        assert name.split(".")[0].lower() != "nul"
    assert safe_name("é" * 300 + ".png").endswith(".png") and safe_name("A take (2).mp4") == "A take (2).mp4"


def test_equal_names_are_told_apart_whatever_their_case():
    taken: set[str] = set()
    names = [
        distinct(name, node, taken) for name, node in (("a.png", "3"), ("A.png", "4"), ("a.png", "4"), ("a.png", "4"))
    ]
    assert names == ["a.png", "4-A.png", "4-2-a.png", "4-3-a.png"]


def test_the_documented_example_is_right(tmp_path):
    root = Path(__file__).resolve().parents[3]
    text = (root / "docs" / "batches.md").read_text(encoding="utf-8").split("```csv\n")[1].split("```")[0]
    (tmp_path / "jobs.csv").write_text(text)
    (tmp_path / "takes").mkdir()
    for name in ("intro.mp4", "interview.mp4", "trailer.mov"):
        (tmp_path / "takes" / name).write_text(name)
    rows = read_manifest(tmp_path / "jobs.csv", load_workflow(root / "workflows" / "api" / "fix_sync.json"))
    assert [row.id for row in rows] == ["intro", "interview", "trailer"] and all(len(row.files) == 1 for row in rows)
    assert [row.graph["2"]["inputs"]["max_lag"] for row in rows] == [15, 25, 15]
    assert [row.graph["3"]["inputs"]["audio"] for row in rows] == ["encode", "encode", "copy"]


def test_the_shape_of_a_workflow_is_its_nodes_and_links():
    def shape(**changes):
        graph = json.loads(json.dumps(WORKFLOW))
        graph["2"]["inputs"] |= changes
        return Workflow(graph, Path("flow.json")).shape()

    assert shape(seed=99) == shape() != shape(seed=["1", 0])


API = Path(__file__).resolve().parents[3] / "workflows" / "api"


def kinds(graph):
    return {node: (spec["class_type"], spec["inputs"]) for node, spec in graph.items()}


def test_a_file_takes_the_place_of_the_demo_clip(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"x")
    (tmp_path / "jobs.csv").write_text("video\na.mp4\n\n")
    for name, node in (("fix_sync", "1"), ("score_tokens", "1"), ("find_speaker", "1")):
        (row,) = read_manifest(tmp_path / "jobs.csv", load_workflow(API / f"{name}.json"))
        kind, inputs = kinds(row.graph)[node]
        assert kind == "LoadVideo" and inputs == {"file": next(iter(row.files))}
    for column in ("1.file", "Load Video.file", "Demo Video.file", "file"):
        assert load_workflow(API / "score_video.json").resolve(column) == Target("1", "file")
    (tmp_path / "jobs.csv").write_text("id,max_lag\na,10\n")
    (row,) = read_manifest(tmp_path / "jobs.csv", load_workflow(API / "score_video.json"))
    assert row.graph["1"]["class_type"] == "SyncLipDemoVideo"


def test_a_voice_takes_the_place_of_the_demo_whose_sound_is_used(tmp_path):
    for name in ("a.mp4", "b.wav"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "jobs.csv").write_text("video,audio\na.mp4,b.wav\n")
    (row,) = read_manifest(tmp_path / "jobs.csv", load_workflow(API / "dub_audio_driven.json"))
    graph = kinds(row.graph)
    assert graph["1"][0] == "LoadVideo" and graph["2"][0] == "LoadAudio"
    assert graph["3"][1]["audio"] == graph["5"][1]["audio"] == ["2", 0]


def test_a_performance_brings_its_picture_and_its_sound(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"x")
    (tmp_path / "jobs.csv").write_text("2.file\na.mp4\n")
    (row,) = read_manifest(tmp_path / "jobs.csv", load_workflow(API / "dub_video_driven.json"))
    graph, (file,) = kinds(row.graph), row.files
    assert graph["1"][0] == "SyncLipDemoVideo" and graph["2"] == ("LoadVideo", {"file": file})
    assert graph["2-sound"] == ("LoadAudio", {"audio": file}) and graph["5"][1]["audio"] == ["2-sound", 0]
    assert graph["7"][1]["video"] == ["2", 0]


def test_a_folder_is_a_row_for_each_video(tmp_path):
    (tmp_path / "below").mkdir()
    for name in ("take 1.mp4", "below/take 1.mov", "notes.txt"):
        (tmp_path / name).write_bytes(name.encode())
    files = videos_of(str(tmp_path))
    rows = read_folder(tmp_path, files, load_workflow(API / "score_video.json"))
    assert [row.id for row in rows] == ["below/take 1.mov", "take 1.mp4"] and len({row.folder for row in rows}) == 2
    assert [row.graph["1"]["inputs"]["file"] for row in rows] == [next(iter(row.files)) for row in rows]
    with pytest.raises(SyncLipError, match="no video file"):
        videos_of(str(tmp_path / "below" / "none"))
