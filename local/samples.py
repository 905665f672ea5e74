"""The objects that the demo uploads: pydicom's own DICOM files, and some that must not get through."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pydicom
import pydicom.data

from local.errors import LocalRunError

BUNDLED = Path(pydicom.data.__file__).parent / "test_files"

# Valid files, each of another kind: modality, SOP class, transfer syntax, byte order, frames, depth of sequences.
VALID = (
    "CT_small.dcm",
    "MR_small.dcm",
    "MR_small_implicit.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_RLE.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "693_J2KI.dcm",
    "JPGExtended.dcm",
    "JPEG2000.dcm",
    "SC_rgb_jpeg_dcmtk.dcm",
    "SC_rgb_jpeg_gdcm.dcm",
    "SC_rgb_rle_2frame.dcm",
    "SC_rgb_rle_32bit.dcm",
    "image_dfl.dcm",
    "examples_overlay.dcm",
    "examples_palette.dcm",
    "examples_ybr_color.dcm",
    "liver_1frame.dcm",
    "reportsi.dcm",
    "test-SR.dcm",
    "rtdose.dcm",
    "rtplan.dcm",
    "waveform_ecg.dcm",
    "dicomdirtests/77654033/CR1/6154",
    "dicomdirtests/98892003/MR1/15820",
)


def samples() -> dict[str, bytes]:
    """Return keys and contents of objects of many kinds, some of which have to be quarantined."""
    contents = {f"valid/{name}": (BUNDLED / name).read_bytes() for name in VALID}
    whole = (BUNDLED / "CT_small.dcm").read_bytes()
    # Some of the bundled files are one image in several transfer syntaxes, under one SOP Instance UID.
    for number, key in enumerate(key for key in contents if "/MR_small_" in key):
        contents[key] = as_instance(contents[key], number)
    return contents | {
        "twice/the-same-file.dcm": whole,
        "twice/other-bytes-of-the-same-instance.dcm": whole[:-1] + bytes([whole[-1] ^ 1]),
        "other/viewer.exe": b"MZ",
        "broken/text.dcm": b"This is a letter, not an image.\n" * 20,
        "broken/empty.dcm": b"",
        "broken/cut-in-header.dcm": whole[:3000],
        "broken/cut-in-pixels.dcm": whole[:-5000],
        "broken/dicomdir.dcm": (BUNDLED / "dicomdirtests" / "DICOMDIR").read_bytes(),
    }


def as_instance(content: bytes, number: int) -> bytes:
    """Return a DICOM file as another instance: its SOP Instance UID replaced by one of the same length.

    Parameters
    ----------
    content
        Of an uncompressed header.
    number
        Below 900,000; another UID for each.
    """
    uid = pydicom.dcmread(BytesIO(content), specific_tags=["SOPInstanceUID"]).SOPInstanceUID
    return content.replace(uid.encode(), f"{uid[:-6]}{100_000 + number}".encode())


def users_own(path: Path) -> dict[str, Path]:
    """Return keys and paths of a file of the user's, or of every file in a folder of theirs, under their own names.

    Raises
    ------
    LocalRunError
        There is nothing to read at `path`.
    """
    path = _expanded(path)
    if not path.exists():
        raise LocalRunError(f"There is no file or folder {str(path)!r}: give DICOM=<path> one that exists.")
    root = path if path.is_dir() else path.parent
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    if not files:
        raise LocalRunError(f"The folder {str(path)!r} has no files in it.")
    return {_key(file.relative_to(root)): file for file in files}


def _key(name: Path) -> str:
    """Return the key of a file; what isn't UTF-8 in its name is replaced, since a key has to be."""
    return f"yours/{bytes(name).decode('utf-8', 'replace')}"


def _expanded(path: Path) -> Path:
    """Return a path with `~` expanded as a shell does, unless it exists as it stands."""
    try:
        return path if path.exists() else path.expanduser()
    except RuntimeError:  # nobody's home
        return path
