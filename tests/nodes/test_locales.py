"""Translations that ComfyUI loads from locales/: complete, alike in every language, and English as the nodes say it."""

import ast
import json
import re

import pytest
from comfy_common import ROOT, running

LOCALES = {path.parent.name: json.loads(path.read_text("utf-8")) for path in (ROOT / "locales").glob("*/nodeDefs.json")}
OTHERS = sorted(set(LOCALES) - {"en"})
FILES = {("SyncLipLoadTokens", "file"), ("SyncLipLoadAudioPack", "file")}  # the user's files, not words of ours
FOREIGN = {  # options that are files of the user's or names of ComfyUI's, not words of ours
    "SyncLipLoadTokens.file",
    "SyncLipLoadAudioPack.file",
    "SyncLipLoadDubbingDemo.name",
    "SyncLipDubSampler.sampler_name",
    "SyncLipDubSampler.scheduler",
}
CODE_WORDS = {"CRF", "JSON"}  # the same in every language


def leaves(tree, place=""):
    """(place, text) of every text, in no order that matters."""
    if not isinstance(tree, dict):
        return [(place, tree)]
    return [leaf for key, value in tree.items() for leaf in leaves(value, f"{place}/{key}")]


def nodes_in_source():
    """node_id -> names of the inputs that `execute` takes, and whether it takes others besides (**)."""
    found = {}
    for path in sorted((ROOT / "nodes").rglob("*.py")):
        for node in ast.parse(path.read_text("utf-8")).body:
            ids = [k.value.value for k in ast.walk(node) if isinstance(k, ast.keyword) and k.arg == "node_id"]
            for execute in (f for f in ast.walk(node) if ids and getattr(f, "name", "") == "execute"):
                names = [a.arg for a in (*execute.args.args, *execute.args.kwonlyargs)]
                found[ids[0]] = set(names) - {"cls"}, execute.args.kwarg is not None
    return found


SOURCE = nodes_in_source()


def test_english_and_chinese_are_there_for_every_node():
    ids = re.findall(r'node_id="(\w+)"', "".join(p.read_text("utf-8") for p in (ROOT / "nodes").rglob("*.py")))
    assert {"en", "zh"} <= set(LOCALES) and sorted(ids) == sorted(SOURCE) and len(ids) >= 14
    for language, texts in LOCALES.items():
        assert sorted(texts) == sorted(ids), language


@pytest.mark.parametrize("node", sorted(SOURCE))
@pytest.mark.parametrize("language", sorted(LOCALES))
def test_every_input_is_translated(language, node):
    names, more = SOURCE[node]
    given = set(LOCALES[language][node]["inputs"])
    assert names <= given if more else names == given


@pytest.mark.parametrize("language", OTHERS)
def test_languages_have_the_same_texts(language):
    assert {place for place, _ in leaves(LOCALES[language])} == {place for place, _ in leaves(LOCALES["en"])}


@pytest.mark.parametrize("language", sorted(LOCALES))
def test_texts_survive_the_page(language):
    """None is empty, and none holds a character that has a meaning in the messages of ComfyUI's page (vue-i18n)."""
    for place, text in leaves(LOCALES[language]):
        assert isinstance(text, str) and text.strip() == text != "", place
        assert not set(text) & set("{}@|$"), f"{place}: {text}"


def test_chinese_is_chinese():
    wrong = [(p, t) for p, t in leaves(LOCALES["zh"]) if not re.search("[\u4e00-\u9fff]", t) and t not in CODE_WORDS]
    assert not wrong


@pytest.mark.parametrize("language", OTHERS)
def test_translations_keep_the_numbers(language):
    """A default or a limit that changes in English must not stay behind in a translation."""
    texts = dict(leaves(LOCALES[language]))
    for place, text in leaves(LOCALES["en"]):
        assert set(re.findall(r"-?\d+", texts[place])) == set(re.findall(r"-?\d+", text)), place


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(tmp_path_factory.mktemp("comfy")) as found:
        yield found


@pytest.fixture(scope="module")
def info(server):
    return {name: node for name, node in server.json("/object_info").items() if name.startswith("SyncLip")}


def inputs_of(node):
    return {name: spec for group in ("required", "optional") for name, spec in node["input"].get(group, {}).items()}


def test_english_is_what_the_nodes_say(info):
    assert sorted(info) == sorted(LOCALES["en"])
    for name, node in info.items():
        outputs = zip(node["output_name"], node["output_tooltips"], strict=True)
        said = {
            "display_name": node["display_name"],
            "description": node["description"],
            "inputs": {key: {"name": key, "tooltip": spec[1]["tooltip"]} for key, spec in inputs_of(node).items()},
            "outputs": {str(k): {"name": label, "tooltip": text} for k, (label, text) in enumerate(outputs)},
        }
        assert LOCALES["en"][name] == said, name


@pytest.mark.parametrize("language", OTHERS)
def test_translations_name_every_option(info, language):
    """ComfyUI shows options untranslated, so it is the tooltip that says what they mean."""
    for name, node in info.items():
        for key, spec in inputs_of(node).items():
            if f"{name}.{key}" in FOREIGN:
                continue
            tooltip = LOCALES[language][name]["inputs"][key]["tooltip"]
            assert all(option in tooltip for option in spec[1].get("options", [])), f"{name}.{key}"


@pytest.mark.parametrize("language", sorted(LOCALES))
def test_the_server_hands_out_the_translations(server, language):
    served = server.json("/i18n")[language]["nodeDefs"]
    assert {name: served.get(name) for name in LOCALES[language]} == LOCALES[language]
