"""Ranges that fields of the systems' configs share; a config's annotations are its whole validation.

Upper bounds are generous: beyond them lies a slip of the pen, or what no machine has the memory for.
"""

from typing import Annotated

from msgspec import Meta

from unibench.schema import UNIQUE

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Classes = Annotated[tuple[Name, ...], Meta(min_length=1, max_length=10_000), UNIQUE]
Modules = Annotated[tuple[Name, ...], Meta(min_length=0, max_length=1000), UNIQUE]

Side = Annotated[int, Meta(ge=1, le=8192)]
"""Pixels."""
Channels = Annotated[int, Meta(ge=1, le=2048)]
Convs = Annotated[int, Meta(ge=0, le=32)]
"""Convolutions one after the other."""
Levels = tuple[Annotated[int, Meta(ge=2, le=5)], Annotated[int, Meta(ge=5, le=10)]]
"""First and last level of a pyramid."""
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Steps = Annotated[int, Meta(ge=1, le=1_000_000_000)]

Share = Annotated[float, Meta(ge=0, le=1)]
"""A probability, a score, an IoU, or a part of a whole."""
Prior = Annotated[float, Meta(ge=1e-6, le=0.999)]
"""A probability whose logit is finite and of some use."""
Weight = Annotated[float, Meta(ge=0, le=1e6)]
Positive = Annotated[float, Meta(gt=0, le=1e6)]
Factor = Annotated[float, Meta(ge=0.01, le=100)]
"""Of a size."""
