"""The public surface: what `unibench` names, lazily, and nothing else."""

import subprocess
import sys
from importlib import import_module

import pytest

import unibench


def test_the_public_names_are_sorted_complete_and_there() -> None:
    assert unibench.__all__ == sorted(unibench.__all__)
    assert set(unibench.__all__) == {*unibench._PUBLIC, "__version__"}
    for name, reference in unibench._PUBLIC.items():
        module, _, attribute = reference.partition(":")
        assert getattr(unibench, name) is getattr(import_module(module), attribute)
        assert f"\n{name}(" in (unibench.__doc__ or "")
    assert unibench.__version__.count(".") == 2


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'unibench' has no attribute 'evaluat'"):
        unibench.evaluat  # noqa: B018 - the access is what is tested
    assert not hasattr(unibench, "torch")


def test_importing_it_loads_nothing_heavy() -> None:
    code = (
        "import sys, unibench; unibench.__version__; print({'torch', 'pandas', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
