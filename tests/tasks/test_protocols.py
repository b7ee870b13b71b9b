"""Protocols: every knob is written out, every preset binds, and a hash changes with whatever changes a score."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from unibench.errors import DataError, UnknownNameError
from unibench.tasks import protocols, registry
from unibench.tasks.protocols import PROTOCOLS, Protocol

ALL = [(family, preset) for family, presets in PROTOCOLS.items() for preset in presets.values()]


@pytest.mark.parametrize(("family", "preset"), ALL, ids=lambda one: getattr(one, "name", one))
def test_every_preset_binds_and_writes_out_every_knob(family: str, preset: Protocol) -> None:
    assert preset.source
    if preset.kind == "joint":  # a joint tracker brings its own
        assert preset.knobs == {}
        return
    options = registry.options(registry.FAMILIES[family].options, preset.knobs)
    assert asdict(options) == preset.knobs


def test_each_kind_of_model_has_a_default_of_its_own() -> None:
    assert [protocols.find("mot", kind=kind).name for kind in ("frozen", "joint")] == ["unitrack", "private"]
    assert protocols.find("vos", kind="joint").name == "unitrack"  # there is none; `tasks.why_not` says so
    assert all(next(iter(presets.values())).kind == "frozen" for presets in PROTOCOLS.values())


@pytest.mark.parametrize("family", sorted(registry.FAMILIES))
def test_presets_of_a_family_are_different(family: str) -> None:
    presets = PROTOCOLS[family]
    assert len({protocols.fingerprint(preset) for preset in presets.values()}) == len(presets)
    assert all(name == preset.name for name, preset in presets.items())
    assert protocols.find(family) == next(iter(presets.values()))


def test_every_published_vos_protocol_is_a_preset() -> None:
    assert list(PROTOCOLS["vos"]) == [
        "unitrack",
        "crw",
        "dino",
        "dinov3-s",
        "dinov3-m",
        "dinov3-l",
        "cropmae",
    ]


@pytest.mark.parametrize("family", ["mot", "mots", "posetrack"])
def test_every_variant_of_association_is_a_preset(family: str) -> None:
    study = PROTOCOLS[family]["unitrack"]
    variants = {name: preset.knobs for name, preset in PROTOCOLS[family].items()}
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
    family = registry.FAMILIES["vos"]
    knobs = {**protocols.find("vos").knobs, "colour": 1}
    with pytest.raises(TypeError, match="colour"):
        registry.options(family.options, knobs)


def test_the_hash_follows_what_changes_a_score() -> None:
    one = protocols.find("mot")
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
    one = replace(protocols.find("mot"), detections=str(tmp_path))
    empty = protocols.fingerprint(one)
    (tmp_path / "clip.txt").write_text("1,-1,2,3,4,5,1")
    assert protocols.fingerprint(one) != empty
    assert protocols.label(one) == f"unitrack+{tmp_path.name}"
    with pytest.raises(DataError, match="detections 'nowhere': no such folder; there are: public, oracle"):
        protocols.fingerprint(replace(one, detections="nowhere"))


def test_unknown_presets_are_named() -> None:
    with pytest.raises(UnknownNameError, match="no protocol of 'vos' 'unitrak'; did you mean 'unitrack'"):
        protocols.find("vos", "unitrak")
