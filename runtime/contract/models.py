"""Base classes of models that cross a boundary."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """Immutable model that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Published(Frozen):
    """A model that others read, or that outlives the code that wrote it.

    A version only ever gains optional fields, which readers ignore; any other change is a new version.
    """

    model_config = ConfigDict(extra="ignore")

    version: Literal[1] = 1
