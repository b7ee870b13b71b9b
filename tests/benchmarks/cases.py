"""What one benchmark is."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """Something that shall be fast, and what it is compared with."""

    name: str
    """Subject and size, as the table prints it: `mask head 60x107`. Unique over all modules."""
    run: Callable[[], object]
    """Does the work once; whatever it needs is made before."""
    reference: Callable[[], object] | float
    """Does the same work the clear way, or that part of it which cannot be saved (the floor). A number: seconds, where
    the target is not relative to anything."""
    limit: float
    """Largest ratio run / reference that is acceptable."""
    note: str = ""
    """What the reference is, for the reader of the table."""
