"""Runs one de-identification tool and measures it: `python tools.py TOOL once|time|memory SOURCE TARGET`.

Every tool gets a process of its own, in an environment that has it, and says what was measured as JSON. This file
therefore imports nothing but the standard library and, when it is called, the tool.
"""

# ruff: noqa: PLC0415 - a tool is imported where it is used: no environment has all of them

import json
import logging
import os
import resource
import shutil
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

Deidentify = Callable[[Path, Path], object]

_MEASURED_SECONDS = 3.0
_WARM_UP = 5


def ours() -> Deidentify:
    """This project's engine with the Basic Profile, risks that a header can't judge released."""
    from cli.deidentification.folder import write_result
    from runtime.deidentification.engine import Deidentifier
    from runtime.deidentification.profile import Policy, Risk, load_profile
    from runtime.deidentification.pseudonyms import Pseudonyms
    from runtime.dicom.header import read_header
    from runtime.dicom.source import FileSource

    profile = load_profile("basic").model_copy(update={"risks": dict.fromkeys(Risk, Policy.RELEASE)})
    deidentifier = Deidentifier(profile, Pseudonyms(bytes(32)))
    return lambda source, target: write_result(target, deidentifier.deidentify(read_header(FileSource(source))))


def dicognito() -> Deidentify:
    """Dicognito as its command line runs it."""
    from dicognito.anonymizer import Anonymizer  # type: ignore[import-not-found]
    from pydicom import dcmread

    anonymizer = Anonymizer()

    def deidentify(source: Path, target: Path) -> None:
        data_set = dcmread(source)
        anonymizer.anonymize(data_set)
        data_set.save_as(target)

    return deidentify


def deid() -> Deidentify:
    """The deid package with the recipe that it ships, private attributes removed."""
    from deid.config import DeidRecipe  # type: ignore[import-not-found]
    from deid.dicom import get_identifiers, replace_identifiers  # type: ignore[import-not-found]

    recipe = DeidRecipe()

    def deidentify(source: Path, target: Path) -> None:
        files = [str(source)]
        cleaned = replace_identifiers(
            dicom_files=files, deid=recipe, ids=get_identifiers(files), remove_private=True, save=False
        )
        cleaned[0].save_as(target)

    return deidentify


def dicom_anonymizer() -> Deidentify:
    """dicom-anonymizer with its default rules."""
    from dicomanonymizer import anonymize_dicom_file  # type: ignore[import-not-found]

    return lambda source, target: anonymize_dicom_file(str(source), str(target))


def idiscore() -> Deidentify:
    """Idiscore with the Basic Profile alone."""
    from idiscore.core import Core, Profile  # type: ignore[import-not-found]
    from idiscore.defaults import get_dicom_rule_sets  # type: ignore[import-not-found]
    from idiscore.private_processing import SafePrivateDefinition  # type: ignore[import-not-found]
    from pydicom import dcmread

    rule_sets = get_dicom_rule_sets(SafePrivateDefinition(blocks=[]))
    core = Core(profile=Profile(rule_sets=[rule_sets.basic_profile]))
    return lambda source, target: core.deidentify(dcmread(source)).save_as(target)


def pydicom() -> Deidentify:
    """Read and write, for comparison."""
    from pydicom import dcmread

    return lambda source, target: dcmread(source).save_as(target)


TOOLS: dict[str, Callable[[], Deidentify]] = {
    "dicognito 0.19.0": dicognito,
    "deid 0.4.13": deid,
    "dicom-anonymizer 2.1.0": dicom_anonymizer,
    "idiscore 1.6.0": idiscore,
    "pydicom 3.0.2 read + write": pydicom,
    "ours": ours,
}


def milliseconds(deidentify: Deidentify, source: Path, target: Path) -> float:
    """Return the median time of a file."""
    for _ in range(_WARM_UP):
        deidentify(source, target)
    times: list[float] = []
    while sum(times) < _MEASURED_SECONDS:
        started = time.perf_counter()
        deidentify(source, target)
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000


def memory(deidentify: Deidentify, source: Path, target: Path, small: Path) -> float:
    """Return by how many MiB the process grows at its peak, after a small file has made it load what it needs."""
    deidentify(small, target)
    target.unlink()
    before = _peak_mebibytes()
    deidentify(source, target)
    return _peak_mebibytes() - before


def _peak_mebibytes() -> float:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def main() -> None:
    """Measure what the arguments say."""
    warnings.simplefilter("ignore")
    logging.disable()
    tool, what, source, target, *small = sys.argv[1:]
    answers = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # some tools talk
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        deidentify = TOOLS[tool]()
        result = Path(scratch, "result.dcm")
        measured = 0.0
        if what == "time":
            measured = milliseconds(deidentify, Path(source), result)
        elif what == "memory":
            measured = memory(deidentify, Path(source), result, Path(small[0]))
        else:
            deidentify(Path(source), result)
            shutil.copyfile(result, target)
    os.write(answers, json.dumps(measured).encode())


if __name__ == "__main__":
    main()
