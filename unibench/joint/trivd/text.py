"""Class names as text: the prompt, its tokens, which of them are of which class, and what encodes them.

Two encoders stand behind one interface: `NameEncoder`, ours and tiny, and `PretrainedEncoder`, any encoder in the
layout of the transformers library, RoBERTa as in the paper or a smaller one.
"""

import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from unibench.errors import UnibenchError, WeightsError

LIMIT = 255
"""Tokens of a prompt, those of no class among them: MDETR's 256 logits less the one of no object."""
LETTERS, PADDING = 64, -1
"""Bytes of a word that our own encoder reads, at most; what stands behind the last one."""
_BROKEN = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    ImportError,
    RuntimeError,
    SafetensorError,
)
"""What transformers raises over a folder that it does not understand."""


@dataclass(frozen=True, eq=False)
class Prompt:
    """Class names as an encoder reads them."""

    names: tuple[str, ...]
    tokens: Int[Tensor, "token ..."]
    """What the encoder that made it reads of each token."""
    spans: tuple[tuple[int, int], ...]
    """Of each name its first token, and the one after its last."""


class TextEncoder(nn.Module, ABC):
    """Turns class names into an embedding of each token."""

    width: int
    """Channels of an embedding."""

    @abstractmethod
    def prompt(self, names: Sequence[str]) -> Prompt:
        """Make a prompt of class names; another order of the names changes nothing but the order of their spans.

        Raises:
            UnibenchError: There is no name, one is empty or there twice or unknown to the encoder, or they make too
                many tokens.
        """

    @abstractmethod
    def forward(self, prompt: Prompt) -> Float[Tensor, "token width"]:
        """Encode a prompt that this encoder made."""


class NameEncoder(TextEncoder):
    """Our own encoder: a token is a word, of any script; one transformer layer looks at its bytes in UTF-8.

    A word is read by itself, so its embedding depends on no other in the prompt, nor on its place there.

    Args:
        width: Channels; divisible by `heads`, and even.
        heads: Of the attention.
        hidden: Channels between the two linear layers.
    """

    def __init__(self, width: int = 64, heads: int = 4, hidden: int = 128) -> None:
        super().__init__()
        self.width = width
        self.bytes = nn.Embedding(256, width)
        self.layer = nn.TransformerEncoderLayer(width, heads, hidden, dropout=0.0, batch_first=True)

    def prompt(self, names: Sequence[str]) -> Prompt:
        """See `TextEncoder.prompt`; upper and lower case are one."""
        names = _checked(names)
        words = [name.casefold().split() for name in names]
        stops = torch.tensor([len(one) for one in words]).cumsum(0).tolist()
        _within_limit(names, stops[-1], LIMIT)
        letters = [torch.tensor(list(word.encode())) for one in words for word in one]
        longest = max(map(len, letters))
        if longest > LETTERS:
            raise UnibenchError(
                f"prompt: a class name has a word of {longest} bytes, expected at most {LETTERS}; choose a shorter one"
            )
        tokens = pad_sequence(letters, batch_first=True, padding_value=PADDING)
        return Prompt(names, tokens, tuple(zip([0, *stops[:-1]], stops, strict=True)))

    def forward(self, prompt: Prompt) -> Float[Tensor, "token width"]:
        """See `TextEncoder.forward`."""
        table = self.bytes.weight
        letters = prompt.tokens.to(table.device)
        beyond = letters == PADDING
        waves = _waves(torch.arange(letters.shape[1]), self.width).to(table)
        encoded = self.layer(self.bytes(letters.masked_fill(beyond, 0)) + waves, src_key_padding_mask=beyond)
        there = (~beyond)[..., None]
        mean: Tensor = (encoded * there).sum(dim=1) / there.sum(dim=1)
        return mean


class PretrainedEncoder(TextEncoder):
    """An encoder of the transformers library; `load_encoder` makes it."""

    def __init__(self, tokenizer: Any, model: nn.Module, width: int, limit: int) -> None:
        super().__init__()
        self.tokenizer, self.model = tokenizer, model
        self.width, self.limit = width, limit

    def prompt(self, names: Sequence[str]) -> Prompt:
        """See `TextEncoder.prompt`; names are joined by blanks, as in section 3.2 of the paper.

        A blank stands also before the first name: a byte-level tokenizer spells words with and without one
        differently.
        """
        names = _checked(names)
        encoded = self.tokenizer(
            "".join(f" {name}" for name in names), return_offsets_mapping=True, verbose=False
        )
        tokens: list[int] = encoded["input_ids"]
        _within_limit(names, len(tokens), self.limit)
        spans, start, stop = [], 1, 0
        for name in names:
            own = _own(encoded["offset_mapping"], start, start + len(name), stop)
            known = [row for row in own if tokens[row] != self.tokenizer.unk_token_id]
            if not known:
                raise UnibenchError(
                    f"prompt: the text encoder knows no part of class name {name!r}; choose another name or encoder"
                )
            stop = own[-1] + 1
            spans.append((own[0], stop))
            start += len(name) + 1
        _all_differ(names, [tuple(tokens[slice(*span)]) for span in spans])
        return Prompt(names, torch.tensor(tokens), tuple(spans))

    def forward(self, prompt: Prompt) -> Float[Tensor, "token width"]:
        """See `TextEncoder.forward`."""
        tokens = prompt.tokens[None].to(next(self.model.parameters()).device)
        encoded: Tensor = self.model(
            input_ids=tokens, attention_mask=torch.ones_like(tokens)
        ).last_hidden_state[0]
        return encoded


def load_encoder(folder: Path) -> PretrainedEncoder:
    """Load a text encoder from a folder of the transformers library, in evaluation mode; no code in it is run.

    Args:
        folder: With config.json, the tokenizer's files and weights as safetensors.

    Raises:
        UnibenchError: transformers is not installed.
        WeightsError: The folder holds no such encoder, or not all of its weights.
    """
    where = f"text encoder {str(folder)!r}"
    absent = [name for name in ("config.json", "*.safetensors") if not any(folder.glob(name))]
    if absent:
        raise WeightsError(
            f"{where}: it has no {' and no '.join(absent)}, expected a folder of the transformers library with weights "
            "as safetensors; save one by save_pretrained"
        )
    try:
        from transformers import AutoModel, AutoTokenizer
    except ModuleNotFoundError as error:
        raise UnibenchError(
            f"{where}: transformers is not installed; pip install 'unibench-tracking[text]'"
        ) from error
    only_local = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **only_local)
        model, report = AutoModel.from_pretrained(
            folder, **only_local, use_safetensors=True, output_loading_info=True, dtype=torch.float32
        )
    except _BROKEN as error:
        raise WeightsError(
            f"{where}: transformers cannot read it ({' '.join(str(error).split())[:200]}), expected a text encoder; "
            "choose another folder"
        ) from error
    missing = sorted(name for name in report["missing_keys"] if not name.startswith("pooler."))
    if missing:
        raise WeightsError(
            f"{where}: its weights lack {len(missing)} tensors ({missing[0]}, ...), expected all; choose another folder"
        )
    if not getattr(tokenizer, "is_fast", False):
        raise WeightsError(
            f"{where}: its tokenizer does not say where tokens lie in the text, expected a tokenizer.json; choose "
            "another folder"
        )
    model.pooler = None  # it plays no part, and a checkpoint of a language model has no weights for it
    limit = min(LIMIT, int(tokenizer.model_max_length))
    encoder = PretrainedEncoder(tokenizer, model, int(model.config.hidden_size), limit)
    encoder.eval()
    if not _reads_both_ways(encoder):
        raise WeightsError(
            f"{where}: its first word does not see the last, expected an encoder that reads a text both ways (BERT, "
            "RoBERTa, ...); choose another folder"
        )
    return encoder


@torch.no_grad()
def _reads_both_ways(encoder: PretrainedEncoder) -> bool:
    """Whether a word's embedding depends on the words after it: not in a model that writes text."""
    first, second = (encoder.tokenizer(text)["input_ids"] for text in ("a b", "a c"))
    prompts = [Prompt((), torch.tensor(tokens), ()) for tokens in (first, second)]
    one, two = (encoder(prompt)[0] for prompt in prompts)
    return not torch.equal(one, two)


def _checked(names: Sequence[str]) -> tuple[str, ...]:
    """Names with single blanks and composed accents, each there once."""
    if not names:
        raise UnibenchError("prompt: it has no class name, expected at least one; name the classes to find")
    plain = tuple(unicodedata.normalize("NFC", " ".join(name.split())) for name in names)
    for number, name in enumerate(plain, start=1):
        if not name:
            raise UnibenchError(
                f"prompt: class name {number} of {len(plain)} is empty, expected a word; name it or leave it out"
            )
        if any(unicodedata.category(letter) == "Cs" for letter in name):
            raise UnibenchError(
                f"prompt: class name {name!r} is no valid text, expected UTF-8; correct its encoding"
            )
    _all_differ(plain, [name.casefold() for name in plain])
    return plain


def _all_differ(names: Sequence[str], keys: Sequence[object]) -> None:
    first: dict[object, str] = {}
    for name, key in zip(names, keys, strict=True):
        if key in first:
            both = repr(name) if first[key] == name else f"{first[key]!r} and {name!r}"
            raise UnibenchError(
                f"prompt: {both} {'is there twice' if first[key] == name else 'are one name to the text encoder'}, "
                "expected each class once; remove one"
            )
        first[key] = name


def _within_limit(names: Sequence[str], count: int, limit: int) -> None:
    if count > limit:
        raise UnibenchError(
            f"prompt: {len(names)} class names make {count} tokens, expected at most {limit}; name fewer classes"
        )


def _own(offsets: Sequence[tuple[int, int]], start: int, stop: int, after: int) -> list[int]:
    """Tokens that lie at least partly within some characters, from a token on."""
    return [
        row for row, (low, high) in enumerate(offsets) if row >= after and max(low, start) < min(high, stop)
    ]


def _waves(places: Int[Tensor, " token"], width: int) -> Float[Tensor, "token width"]:
    """Sines and cosines of the places, at falling frequencies."""
    angles = places[:, None] * 10_000 ** (-torch.arange(0, width, 2) / width)
    return torch.cat([angles.sin(), angles.cos()], dim=1)
