"""Cards: every shipped one is valid, and every mistake is named."""

from pathlib import Path

import pytest

from unibench.errors import CardError, UnknownNameError
from unibench.models import cards

CARD = """
kind = "frozen"
description = "d"
paper = "p"
license = "MIT"
default_layer = "layer3"
[architecture]
loader = "torchvision"
name = "resnet18"
[weights]
source = "random"
[preprocessing]
color = "rgb"
divisor = 255
mean = [0.5, 0.5, 0.5]
std = [0.5, 0.5, 0.5]
[pretraining]
method = "none"
data = "none"
supervision = "none"
[layers.layer3]
node = "layer3"
stride = 16
channels = 256
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", sorted(cards.paths()))
def test_every_shipped_card_is_valid(name: str) -> None:
    card = cards.find(name)
    assert card.name == name
    assert card.default_layer in (card.layers or ("joint",))


def test_a_card_says_what_it_says(tmp_path: Path) -> None:
    card = cards.read(write(tmp_path, CARD))
    assert card.name == "mine"
    assert card.layers["layer3"] == cards.Layer(node="layer3", stride=16, channels=256, offset=0.0)
    assert card.preprocessing.divisor == 255.0
    assert card.imagenet_top1 is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('paper = "p"', "", r"mine\.toml: missing field 'paper'"),
        ('paper = "p"', 'papr = "p"', r"mine\.toml: unknown field 'papr'; there are: "),
        ('paper = "p"', "paper = 3", r"mine\.toml: paper: found 3, expected str"),
        ('kind = "frozen"', 'kind = "thawed"', r"kind is 'thawed', expected one of frozen"),
        ('default_layer = "layer3"', 'default_layer = "x"', r"default_layer is 'x', expected one of layer3"),
        ("stride = 16", "stride = 0", r"layers\.layer3\.stride: found 0, expected int, at least 1"),
        ("stride = 16", "stride = true", r"layers\.layer3\.stride: found True, expected int"),
        ("mean = [0.5, 0.5, 0.5]", "mean = [0.5, 0.5]", r"preprocessing\.mean: found \[0\.5, 0\.5\]"),
        (
            "loader = ",
            'dtype = "int8"\nloader = ',
            r"architecture\.dtype is 'int8', expected one of float32, bfloat16",
        ),
        ('color = "rgb"', 'color = "cmyk"', r"preprocessing\.color is 'cmyk', expected one of rgb, bgr, lab"),
        ("[layers.layer3]", "[layers.layer3", r"not a readable TOML file"),
        ('kind = "frozen"', 'name = "n"\nkind = "frozen"', r"unknown field 'name'; the file's name"),
        ("divisor = 255", "divisor = 0", r"preprocessing\.divisor: found 0, expected float, at least 0\.001"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(CardError, match=message) as caught:
        cards.read(write(tmp_path, CARD.replace(old, new)))
    assert "\n" not in str(caught.value)


def test_unknown_names_get_near_misses() -> None:
    with pytest.raises(UnknownNameError, match="no model card 'random-resnet'; did you mean 'random-resnet"):
        cards.find("random-resnet")


def test_cards_of_the_working_directory_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model_cards").mkdir()
    write(tmp_path / "model_cards", CARD)
    monkeypatch.chdir(tmp_path)
    assert cards.find("mine").name == "mine"
    assert "random-resnet18" in cards.paths()


def both(folder: Path, first: str, second: str) -> None:
    cards_folder = folder / "model_cards"
    cards_folder.mkdir()
    for name, aliases in (("first", first), ("second", second)):
        (cards_folder / f"{name}.toml").write_text(f"aliases = {aliases}\n{CARD}")


def test_aliases_find_the_card_and_are_near_misses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both(tmp_path, '["uno", "primo"]', '["due"]')
    monkeypatch.chdir(tmp_path)
    assert cards.find("primo").name == "first"
    assert cards.find("due").name == "second"
    with pytest.raises(UnknownNameError, match="no model card 'prima'; did you mean 'primo'"):
        cards.find("prima")


def test_an_alias_of_two_cards_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both(tmp_path, '["uno"]', '["uno"]')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        CardError, match="'uno': alias of first and second, expected of one card; give the name"
    ):
        cards.find("uno")


@pytest.mark.parametrize(
    "source",
    [
        "random",
        "file:my weights.pth",
        "package:a_b/c/d.pth",
        "hf:o-1/r.v2/x/y.bin",
        "https://h.org/a/b.pth?dl=1",
    ],
)
def test_sources_are_known_forms(tmp_path: Path, source: str) -> None:
    card = cards.read(write(tmp_path, CARD.replace('source = "random"', f'source = "{source}"')))
    assert card.weights.source == source


@pytest.mark.parametrize(
    "source",
    [
        "", "rnd", "file:", "file:a/b.pth", "file:..", "package:a", "package:a/../b.pth", "hf:repo/file",
        "hf:o/r/../f", "hf:../r/f", "http://h.org/a.pth", "https://h.org", "ftp://h.org/a",
    ],
)  # fmt: skip
def test_other_sources_are_refused(tmp_path: Path, source: str) -> None:
    text = CARD.replace('source = "random"', f'source = "{source}"')
    with pytest.raises(
        CardError, match=r"mine\.toml: weights(\.source is .*, expected random|: .* is no address)"
    ):
        cards.read(write(tmp_path, text))


@pytest.mark.parametrize("mirror", ["random", "file:x.pth", "http://h.org/x"])
def test_mirrors_can_be_fetched(tmp_path: Path, mirror: str) -> None:
    text = CARD.replace('source = "random"', f'source = "random"\nmirrors = ["{mirror}"]')
    with pytest.raises(CardError, match=r"weights\.mirrors has .*, expected hf:OWNER/REPO/FILE or https://"):
        cards.read(write(tmp_path, text))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("stride = 16", "stride = 1" + "0" * 400, "more than 64 bits"),
        ("stride = 16", "stride = 1" + "0" * 5000, "not a readable TOML file"),
        ("stride = 16", "stride = 99999", r"stride: found 99999, expected int, at least 1, at most 4096"),
        ("stride = 16", "stride = 16\noffset = nan", "found nan, expected a finite number"),
        ("stride = 16", "stride = 16\noffset = 1e9", r"offset: found 1000000000\.0, expected float"),
        ("channels = 256", "channels = 0", r"channels: found 0, expected int, at least 1"),
        ("divisor = 255", "divisor = inf", "found inf, expected a finite number"),
        ("divisor = 255", "divisor = 1e300", "divisor: found"),
        ("divisor = 255", "divisor = 1" + "0" * 400, "more than 64 bits"),
        ("std = [0.5, 0.5, 0.5]", "std = [0.5, 0.5, inf]", "found inf"),
        ("std = [0.5, 0.5, 0.5]", "std = [0.5, 0.5, 1e30]", "std: found"),
        ("mean = [0.5, 0.5, 0.5]", "mean = [nan, 0.5, 0.5]", "found nan"),
        ("loader = ", "strides = {layer3 = 0}\nloader = ", r"strides\.layer3: found 0"),
        ("loader = ", "strides = {layer3 = -1}\nloader = ", r"strides\.layer3: found -1"),
        ("loader = ", "options = {depth = 99999999999}\nloader = ", r"options\.depth: more than"),
        (
            "loader = ",
            'options = {checkpoint_path = "x"}\nloader = ',
            r"options\.checkpoint_path: options fetch",
        ),
        ("loader = ", "options = {pretrained = true}\nloader = ", r"options\.pretrained: options fetch"),
        ("source = ", "seed = -1\nsource = ", "seed: found -1"),
        ("source = ", "seed = 99999999999999999999\nsource = ", "more than 64 bits"),
        ("source = ", 'sha256 = "ABC"\nsource = ', "sha256 is 'ABC', expected 64 hexadecimal digits"),
        ("source = ", 'rename = [["(", ""]]\nsource = ', "is not a regular expression"),
        (
            'source = "random"',
            'source = "https://[::1/x.pth"',
            r"weights: 'https://\[::1/x\.pth' is no address",
        ),
        ('source = "random"', 'source = "https://h:99999/x"', "is no address"),
        ('source = "random"', f'source = "https://h/{"x" * 300}"', "is no address"),
        (
            "[layers.layer3]",
            "x = " + "[" * 5000 + "]" * 5000 + "\n[layers.layer3]",
            "not a readable TOML file",
        ),
    ],
)
def test_values_that_no_card_can_have_are_one_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in CARD
    with pytest.raises(CardError, match=rf"mine\.toml: [^\n]*{message}[^\n]*$"):
        cards.read(write(tmp_path, CARD.replace(old, new)))


@pytest.mark.parametrize("name", ["...toml", ".hidden.toml", "a b.toml", "a\nb.toml", ".toml"])
def test_a_card_has_a_name_that_a_file_can_have(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(CARD)
    with pytest.raises(CardError, match="is not a model's name"):
        cards.read(tmp_path / name)


def test_what_is_no_file_is_one_line(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "fifo.toml")
    (tmp_path / "loop.toml").symlink_to(tmp_path / "loop.toml")
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "garbage.toml").write_bytes(bytes(range(256)))
    for name in ("fifo", "loop", "folder", "garbage"):
        with pytest.raises(CardError, match=rf"{name}\.toml: not a readable TOML file[^\n]*$"):
            cards.find(str(tmp_path / f"{name}.toml"))


def test_a_card_does_not_take_the_name_of_a_shipped_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model_cards"
    folder.mkdir()
    (folder / "hog.toml").write_text(CARD)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        CardError, match=r"'hog': the name of .*hog\.toml and .*; rename one, or give one by its file"
    ):
        cards.find("hog")
    assert cards.find("model_cards/hog.toml").path == folder / "hog.toml"
    assert cards.find("lab-colour").name == "lab-colour"


def test_a_card_does_not_take_the_alias_of_a_shipped_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alias = next(one for name in sorted(cards.paths()) for one in cards.find(name).aliases)
    (tmp_path / "model_cards").mkdir()
    (tmp_path / "model_cards" / f"{alias}.toml").write_text(CARD)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CardError, match="an alias of the shipped card"):
        cards.find(alias)
