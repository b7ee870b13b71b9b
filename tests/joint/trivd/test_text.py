"""Prompts of class names, our own encoder, and encoders of the transformers library."""

import builtins
import json
import os
from pathlib import Path

import pytest
import torch

from unibench.errors import UnibenchError, WeightsError
from unibench.joint.trivd.text import (
    LIMIT,
    PADDING,
    NameEncoder,
    PretrainedEncoder,
    TextEncoder,
    load_encoder,
)

NAMES = ("disc", "giant panda", "square")
ABSENT = "transformers is not installed: uv sync --extra text"


def own(**sizes: int) -> NameEncoder:
    torch.manual_seed(0)
    return NameEncoder(**sizes).eval()


def written(folder: Path, kind: str = "roberta", **changed: object) -> Path:
    """A tiny model with random weights and a byte-level tokenizer, in the layout of transformers."""
    transformers = pytest.importorskip("transformers", reason=ABSENT)
    tokenizers = pytest.importorskip("tokenizers", reason=ABSENT)
    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    words = ["<s>", "<pad>", "</s>", "<unk>", *letters, "sq", "Ġd", "Ġsq"]
    model = tokenizers.models.BPE(
        {word: row for row, word in enumerate(words)}, [("s", "q"), ("Ġ", "d"), ("Ġ", "sq")]
    )
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = tokenizers.processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), add_prefix_space=False
    )
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=300, **special)
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    if kind == "roberta":
        sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
        config = transformers.RobertaConfig(
            vocab_size=len(words), max_position_embeddings=310, **{**sizes, **changed}
        )
        transformers.RobertaForMaskedLM(config).save_pretrained(folder)
    else:
        config = transformers.GPT2Config(
            vocab_size=len(words), n_embd=16, n_layer=1, n_head=2, n_inner=8, n_positions=310
        )
        transformers.GPT2Model(config).save_pretrained(folder)
    return folder


@pytest.fixture(params=["ours", "transformers"])
def encoder(request: pytest.FixtureRequest, tmp_path: Path) -> TextEncoder:
    return own(width=16) if request.param == "ours" else load_encoder(written(tmp_path))


def spelt(encoder: TextEncoder, names) -> list[list[int]]:
    prompt = encoder.prompt(names)
    return [_plain(prompt.tokens[start:stop].tolist()) for start, stop in prompt.spans]


def _plain(tokens: list) -> list:
    """Without what stands behind the last letter of a word."""
    return [
        [letter for letter in one if letter != PADDING] if isinstance(one, list) else one for one in tokens
    ]


def test_every_token_of_a_span_is_of_its_name_and_of_no_other(encoder: TextEncoder) -> None:
    prompt = encoder.prompt(NAMES)
    assert prompt.names == NAMES
    ends = [place for span in prompt.spans for place in span]
    assert ends == sorted(ends)
    assert all(start < stop <= len(prompt.tokens) for start, stop in prompt.spans)
    assert spelt(encoder, NAMES) == [spelt(encoder, [name])[0] for name in NAMES]


def test_permuting_the_names_permutes_their_spans(encoder: TextEncoder) -> None:
    assert spelt(encoder, [NAMES[2], NAMES[0], NAMES[1]]) == [spelt(encoder, NAMES)[row] for row in (2, 0, 1)]


def test_each_token_has_an_embedding_and_a_gradient(encoder: TextEncoder) -> None:
    prompt = encoder.prompt(NAMES)
    encoded = encoder(prompt)
    assert encoded.shape == (len(prompt.tokens), encoder.width)
    encoded.square().sum().backward()
    assert any(one.grad is not None and one.grad.abs().sum() > 0 for one in encoder.parameters())


@pytest.mark.parametrize("name", ["熊猫", "собака", "كلب", "कुत्ता", "🐼", "déjà vu"])
def test_names_in_any_script_are_read(encoder: TextEncoder, name: str) -> None:
    prompt = encoder.prompt(["cat", name])
    assert encoder(prompt)[slice(*prompt.spans[1])].isfinite().all()
    assert spelt(encoder, ["cat", name])[1] != spelt(encoder, ["cat"])[0]


def test_blanks_and_the_spelling_of_accents_do_not_matter(encoder: TextEncoder) -> None:
    assert encoder.prompt(["  giant \t panda ", "de\u0301ja\u0300"]).names == (
        "giant panda",
        "d\u00e9j\u00e0",
    )


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], r"^prompt: it has no class name, expected at least one; name the classes to find$"),
        (["cat", " "], r"^prompt: class name 2 of 2 is empty, expected a word; name it or leave it out$"),
        (["cat", "dog", "cat"], r"^prompt: 'cat' is there twice, expected each class once; remove one$"),
        (["cat", "Cat"], r"^prompt: 'cat' and 'Cat' are one name to the text encoder, expected each class once"),
        (["a\udcff"], r"^prompt: class name 'a\\udcff' is no valid text, expected UTF-8; correct its encoding$"),
        ([f"class {i}" for i in range(200)],
         r"^prompt: 200 class names make \d+ tokens, expected at most 255; name fewer classes$"),
    ],
    ids=["none", "empty", "twice", "case", "surrogate", "many"],
)  # fmt: skip
def test_prompts_that_cannot_be_are_refused_in_one_line(encoder: TextEncoder, names, message) -> None:
    with pytest.raises(UnibenchError, match=message):
        encoder.prompt(names)


def test_a_prompt_may_have_as_many_tokens_as_the_limit() -> None:
    many = [f"x{number}" for number in range(LIMIT)]
    assert len(own().prompt(many).tokens) == 255
    with pytest.raises(UnibenchError, match="make 256 tokens"):
        own().prompt([*many, "y"])


def test_our_tokens_are_words_and_their_letters_are_bytes() -> None:
    prompt = own().prompt(["Ab c", "é"])
    assert prompt.tokens.tolist() == [[97, 98], [99, PADDING], [0xC3, 0xA9]]
    assert prompt.spans == ((0, 2), (2, 3))


def test_a_word_without_end_is_refused() -> None:
    assert len(own().prompt(["x" * 64]).tokens) == 1
    with pytest.raises(UnibenchError, match="a class name has a word of 65 bytes, expected at most 64"):
        own().prompt(["fine", "x" * 65])


def test_our_embeddings_of_a_name_depend_on_its_letters_and_their_order_and_on_no_other_name() -> None:
    encoder = own(width=8, heads=2, hidden=4)

    def encoded(*names: str) -> list[torch.Tensor]:
        prompt = encoder.prompt(names)
        return [encoder(prompt)[slice(*span)] for span in prompt.spans]

    torch.testing.assert_close(encoded("square", "disc", "ring")[1], encoded("disc")[0])
    ab, ba = encoded("ab", "ba")
    assert (ab - ba).abs().max() > 0.01


def test_our_encoder_gives_the_same_with_and_without_gradients() -> None:
    """Without, torch takes another path."""
    encoder = own(width=8, heads=2, hidden=4)
    prompt = encoder.prompt(NAMES)
    with torch.no_grad():
        quick = encoder(prompt)
    torch.testing.assert_close(quick, encoder.train()(prompt))


def test_our_encoder_is_small() -> None:
    assert sum(one.numel() for one in own().parameters()) < 60_000


def test_spans_lie_where_the_tokenizer_says(tmp_path: Path) -> None:
    encoder = load_encoder(written(tmp_path))
    prompt = encoder.prompt(["disc", "square"])
    pieces = [
        encoder.tokenizer.convert_ids_to_tokens(prompt.tokens[start:stop].tolist())
        for start, stop in prompt.spans
    ]
    assert pieces == [["Ġd", "i", "s", "c"], ["Ġsq", "u", "a", "r", "e"]]
    assert (prompt.tokens[0].item(), prompt.tokens[-1].item()) == (0, 2)
    assert prompt.spans == ((1, 5), (5, 10))


def test_names_that_an_encoder_cannot_tell_apart_or_does_not_know_are_refused() -> None:
    transformers = pytest.importorskip("transformers", reason=ABSENT)
    tokenizers = pytest.importorskip("tokenizers", reason=ABSENT)
    words = {"<unk>": 0, "cat": 1, "dog": 2, " dog cat": 3}
    plain = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unk>"))
    plain.normalizer = tokenizers.normalizers.Sequence(
        [tokenizers.normalizers.NFD(), tokenizers.normalizers.StripAccents()]
    )
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=plain, unk_token="<unk>")
    encoder = PretrainedEncoder(fast, torch.nn.Identity(), width=1, limit=LIMIT)
    with pytest.raises(
        UnibenchError, match=r"^prompt: the text encoder knows no part of class name 'cat'; choose"
    ):
        encoder.prompt(["dog", "cat"])  # one token of both names: it is the first one's
    plain.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    encoder.tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=plain, unk_token="<unk>")
    assert encoder.prompt(["dog", "cat house"]).spans == ((0, 1), (1, 3))
    with pytest.raises(
        UnibenchError, match=r"^prompt: the text encoder knows no part of class name '熊猫'; choose"
    ):
        encoder.prompt(["cat", "熊猫"])
    with pytest.raises(
        UnibenchError, match=r"^prompt: 'cat' and 'cät' are one name to the text encoder, expected"
    ):
        encoder.prompt(["cat", "cät"])


def test_the_loaded_encoder_computes_as_transformers_does(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason=ABSENT)
    encoder = load_encoder(written(tmp_path))
    prompt = encoder.prompt(NAMES)
    model = transformers.RobertaModel.from_pretrained(tmp_path, add_pooling_layer=False).eval()
    assert not encoder.training
    torch.testing.assert_close(encoder(prompt), model(prompt.tokens[None]).last_hidden_state[0])
    assert encoder.width == 16


def test_a_model_that_writes_text_is_no_encoder(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"its first word does not see the last, expected an encoder"):
        load_encoder(written(tmp_path, "gpt2"))


def test_weights_that_lack_a_tensor_are_refused(tmp_path: Path) -> None:
    written(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 2}))
    with pytest.raises(WeightsError, match=r"its weights lack 16 tensors \(encoder.layer.1.*, expected all"):
        load_encoder(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"model_type": "nothing"}', '{"model_type": "vit"}'])
def test_a_folder_that_transformers_cannot_read_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    pytest.importorskip("transformers", reason=ABSENT)
    (tmp_path / "config.json").write_text(text)
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(
        WeightsError, match=r"^text encoder '.*': transformers cannot read it \(.*expected a text"
    ) as error:
        load_encoder(tmp_path)
    assert "\n" not in str(error.value)


def test_weights_that_are_damaged_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match=r"^text encoder '.*': transformers cannot read it"):
        load_encoder(tmp_path)


def test_a_pickle_is_not_opened(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(
        WeightsError, match=r"it has no \*\.safetensors, expected a folder of the transformers library"
    ):
        load_encoder(tmp_path)


def test_code_in_a_folder_is_not_run(tmp_path: Path) -> None:
    written(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    own_code = {
        **config,
        "model_type": "mine",
        "auto_map": {"AutoConfig": "mine.Config", "AutoModel": "mine.Model"},
    }
    (tmp_path / "config.json").write_text(json.dumps(own_code))
    (tmp_path / "mine.py").write_text(f"open({os.fspath(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(WeightsError, match=r"^text encoder '.*': transformers cannot read it"):
        load_encoder(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_an_empty_or_absent_folder_is_refused_whether_transformers_is_there_or_not(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(WeightsError, match=r"it has no config.json and no \*\.safetensors"):
            load_encoder(folder)


def test_without_transformers_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_text("{}")
    plain = builtins.__import__

    def absent(name: str, *rest: object, **more: object) -> object:
        if name == "transformers":
            raise ModuleNotFoundError(name)
        return plain(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(
        UnibenchError, match=r"transformers is not installed; pip install 'unibench-tracking\[text\]'$"
    ):
        load_encoder(tmp_path)
