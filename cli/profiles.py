"""The argument by which commands take a profile."""

from __future__ import annotations

import argparse
from pathlib import Path

from runtime.deidentification.profile import Profile, ProfileError, load_profile, parse_profile, profile_names

DEFAULT_PROFILE = "research"
METAVAR = "PROFILE"


def add_profile_argument(parser: argparse.ArgumentParser, *, default: str | None) -> None:
    """Declare `--profile`, a shipped profile's name or the path of a draft that ends with `.toml`."""
    parser.add_argument(
        "--profile",
        type=_profile,
        default=default,
        metavar=METAVAR,
        help=f"{' or '.join(profile_names())}, or a profile of your own as a .toml file"
        + ("" if default is None else f"; default {default}"),
    )


def _profile(text: str) -> Profile:
    try:
        return parse_profile(Path(text).read_text("utf-8")) if text.endswith(".toml") else load_profile(text)
    except (ProfileError, UnicodeDecodeError) as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error.strerror}") from None
