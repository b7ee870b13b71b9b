"""Protocols: every knob is written out, every preset binds, and a hash changes with whatever changes a score."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from heads import bytetrack, qdtrack
from unibench import plugins
from unibench.errors import DataError, UnknownNameError
from unibench.models import windows
from unibench.tasks import model_kinds, protocols
from unibench.tasks.association.observations import AssociationOptions
from unibench.tasks.family import WHOLE_CLIP, Protocol, make_options
from unibench.tasks.registry import FAMILIES
from unibench.tasks.sot.presets import HEADS

ALL = [(name, preset) for name, family in FAMILIES.items() for preset in family.presets.values()]
MOT = FAMILIES["mot"].presets["unitrack"]


@pytest.mark.parametrize(("family", "preset"), ALL, ids=lambda one: getattr(one, "name", one))
def test_every_preset_binds_and_writes_out_every_knob(family: str, preset: Protocol) -> None:
    assert preset.source
    if preset.kinds == (
        "joint",
    ):  # a joint tracker brings its own; the frames that it is shown are the protocol's
        assert set(preset.knobs) <= {"frames"}
        assert preset.lookahead == preset.knobs.get("frames", 1) // 2
        return
    assert (preset.lookahead == WHOLE_CLIP) == (preset.knobs.get("query_mode") == "strided")
    options = make_options(plugins.resolve(FAMILIES[family].options), preset.knobs)
    knobs = asdict(options)
    for other in {"bytetrack", "qdtrack"} - set(
        preset.knobs
    ):  # in the cascade's place, where a preset says so
        assert knobs.pop(other, None) is None
    assert knobs == preset.knobs


def test_each_kind_of_model_has_a_default_of_its_own() -> None:
    first = {
        kind: next(name for name, preset in FAMILIES["mot"].presets.items() if kind in preset.kinds)
        for kind in model_kinds.TITLES
    }
    assert first == {"frozen": "unitrack", "joint": "private"}
    heads = [family for family in FAMILIES.values() if family.tracker]  # det has none
    assert all(next(iter(family.presets.values())).kinds == ("frozen",) for family in heads)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_presets_of_a_family_are_different(family: str) -> None:
    presets = FAMILIES[family].presets
    assert len({protocols.fingerprint(preset) for preset in presets.values()}) == len(presets)
    assert all(name == preset.name for name, preset in presets.items())
    assert all(protocols.find(FAMILIES[family], name) is preset for name, preset in presets.items())


def test_every_published_vos_protocol_is_a_preset() -> None:
    assert list(FAMILIES["vos"].presets) == [
        "unitrack",
        "crw",
        "dino",
        "dinov3-s",
        "dinov3-m",
        "dinov3-l",
        "cropmae",
        "box",
    ]


@pytest.mark.parametrize("family", ["mot", "mots", "posetrack"])
def test_every_variant_of_association_is_a_preset(family: str) -> None:
    study = FAMILIES[family].presets["unitrack"]
    variants = {name: preset.knobs for name, preset in FAMILIES[family].presets.items()}
    assert [variants[name]["rsm"] for name in ("unitrack", "mass", "pooled", "as-coded")] == [
        "paper", "mass", "pooled", "as-coded"]  # fmt: skip
    assert variants["memory-5"] == {**study.knobs, "cascade": {**study.knobs["cascade"], "memory": 5}}
    motion = {
        name: (cascade["motion_weight"] < 1, cascade["use_kalman"], cascade["use_iou"])
        for name in ("unitrack-motion", "unitrack", "appearance-only")
        for cascade in [variants[name]["cascade"]]
    }
    assert motion == {
        "unitrack-motion": (True, True, True),
        "unitrack": (False, True, True),
        "appearance-only": (False, False, False),
    }


def test_an_unknown_knob_is_refused() -> None:
    family = FAMILIES["vos"]
    knobs = {**family.presets["unitrack"].knobs, "colour": 1}
    with pytest.raises(TypeError, match="colour"):
        make_options(plugins.resolve(family.options), knobs)


def test_the_hash_follows_what_changes_a_score() -> None:
    one = MOT
    same = replace(one, version="1.7", source="somewhere else")
    assert protocols.fingerprint(same) == protocols.fingerprint(one)
    for other in (
        replace(one, version="2.0"),
        replace(one, lookahead=1),
        replace(one, detections="oracle"),
        replace(one, knobs={**one.knobs, "min_score": 0.4}),
    ):
        assert protocols.fingerprint(other) != protocols.fingerprint(one)


def test_a_folder_of_detections_is_known_by_its_bytes(tmp_path: Path) -> None:
    empty = protocols.with_detections(MOT, str(tmp_path))
    (tmp_path / "clip.txt").write_text("1,-1,2,3,4,5,1")
    one = protocols.with_detections(MOT, str(tmp_path))
    assert protocols.fingerprint(one) != protocols.fingerprint(empty)
    assert protocols.label(one) == f"unitrack+{tmp_path.name}-{one.detections_hash[:6]}"
    with pytest.raises(DataError, match="detections 'nowhere': no such folder; there are: public, oracle"):
        protocols.with_detections(MOT, "nowhere")


def test_two_folders_of_one_name_are_two_sources_and_a_copy_is_the_same(tmp_path: Path) -> None:
    found = {}
    for parent, line in (("da", "1,-1,2,3,4,5,1"), ("db", "1,-1,2,3,4,5,.5"), ("copy", "1,-1,2,3,4,5,1")):
        (tmp_path / parent / "det").mkdir(parents=True)
        (tmp_path / parent / "det" / "clip.txt").write_text(line)
        found[parent] = protocols.with_detections(MOT, str(tmp_path / parent / "det"))
    labels = {name: protocols.label(one) for name, one in found.items()}
    assert labels["da"] == labels["copy"] != labels["db"]
    assert protocols.fingerprint(found["da"]) == protocols.fingerprint(found["copy"])


def test_a_preset_of_sot_holds_the_knobs_of_its_own_head_only(monkeypatch: pytest.MonkeyPatch) -> None:
    presets = FAMILIES["sot"].presets
    before = {name: protocols.fingerprint(preset) for name, preset in presets.items()}
    for preset in (one for one in presets.values() if "frozen" in one.kinds):
        head = plugins.resolve(HEADS[preset.knobs["head"]])
        assert set(preset.knobs["head_options"]) == set(head.options.__dataclass_fields__)
        assert preset.version == "2.0"
    monkeypatch.setitem(HEADS, "another", HEADS["xcorr"])
    assert {name: protocols.fingerprint(preset) for name, preset in presets.items()} == before


def test_unknown_presets_are_named() -> None:
    with pytest.raises(UnknownNameError, match="no protocol of 'vos' 'unitrak'; did you mean 'unitrack'"):
        protocols.find(FAMILIES["vos"], "unitrak")


def test_knobs_of_the_two_borrowed_associations_are_those_of_their_heads() -> None:
    """Written out, as all knobs are; the presets load no torch."""
    of = {
        name: make_options(AssociationOptions, FAMILIES["mot"].presets[name].knobs)
        for name in ("bytetrack", "qdtrack", "unitrack", "public")
    }
    assert of["bytetrack"].bytetrack == bytetrack.MOT17
    changed = replace(qdtrack.MOTS20, birth_score=0.0, track_score=0.0, temperature=0.02)
    assert of["qdtrack"].qdtrack == changed
    assert make_options(AssociationOptions, FAMILIES["mots"].presets["qdtrack"].knobs).qdtrack == changed
    assert of["public"] == of["unitrack"]


def test_a_name_that_says_its_detections_says_them_once() -> None:
    family = FAMILIES["mot"]
    names = {
        name: protocols.label(protocols.with_detections(family.presets[name], "public"))
        for name in ("public", "bytetrack")
    }
    assert names == {"public": "public", "bytetrack": "bytetrack+public"}
    noisy = protocols.with_detections(family.presets["public"], "oracle+noise")
    assert protocols.label(noisy) == "public+oracle+noise"


@pytest.mark.parametrize("windowing", windows.WINDOWINGS)
@pytest.mark.parametrize("detections", ["", "public", "oracle+noise"])
def test_a_label_can_be_taken_apart(windowing: str, detections: str) -> None:
    text = protocols.label(replace(MOT, windowing=windowing, detections=detections))
    assert protocols.read_label(text) == ("unitrack", windowing, detections)
    assert (windowing in text) == (windowing != windows.REPEAT)
