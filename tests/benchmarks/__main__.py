"""`make bench`: this engine and others side by side, measured in one run on one machine.

Markers left of every attribute of DICOM PS3.15 Table E.1-1, acquisition attributes kept, time of a file, memory for a
large one; then the files a second of the folder command on all cores.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID

from cli.tables import text_table
from tests.benchmarks.tools import TOOLS
from tests.marker_file import ACQUISITION, MarkerFile, Place, marker_file

ROOT = Path(__file__).parents[2]
PEERS = ROOT / ".bench"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
TOOLS_FILE = Path(__file__).with_name("tools.py")
CT_SMALL = Path(str(get_testdata_file("CT_small.dcm")))
LARGE_SIDE = 10240  # pixels of two bytes: 200 MiB
FILES = 4000


def main() -> int:
    """Measure and print."""
    peers = peers_interpreter()
    with tempfile.TemporaryDirectory() as scratch:
        sys.stdout.write(comparison(peers, Path(scratch)))
        sys.stdout.write(throughput(Path(scratch)))
    return 0


def peers_interpreter() -> Path:
    """Return the interpreter of the environment that has the other tools; made once for these requirements."""
    stamp, wanted = PEERS / "requirements.txt", REQUIREMENTS.read_text("utf-8")
    interpreter = PEERS / "bin" / "python"
    if not stamp.exists() or stamp.read_text("utf-8") != wanted:
        say(f"Installing the other tools into {PEERS.name}, once")
        # idiscore needs 3.12; where there is none, the others are measured without it.
        python = next((name for name in ("python3.13", "python3.12") if runs(name)), sys.executable)
        subprocess.run([python, "-m", "venv", "--clear", str(PEERS)], check=True)
        pip = [str(interpreter), "-m", "pip", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "-r", str(REQUIREMENTS)], check=True)
        stamp.write_text(wanted, "utf-8")
    return interpreter


def runs(python: str) -> bool:
    """Tell whether there is such an interpreter; a version manager's stand-in for one that is switched off isn't."""
    path = shutil.which(python)
    return path is not None and subprocess.run([path, "-c", ""], check=False, capture_output=True).returncode == 0


def comparison(peers: Path, scratch: Path) -> str:
    """Return a row for each tool."""
    markers = marker_file()
    source, large = scratch / "markers.dcm", scratch / "large.dcm"
    source.write_bytes(markers.content)
    write_large_file(large)
    rows = [
        ("TOOL", *(place.value for place in Place), f"kept of {len(ACQUISITION)}", "ms a file", "MiB more for 200 MiB")
    ]
    counts = Counter(marker.place for marker in markers.markers)
    rows.append(("in the file", *(str(counts[place]) for place in Place), str(len(ACQUISITION)), "", ""))
    for tool in TOOLS:
        say(f"Measuring {tool}")
        interpreter = Path(sys.executable) if tool == "ours" else peers
        left = survivors(interpreter, tool, source, scratch / "result.dcm", markers)
        milliseconds = measure(interpreter, tool, "time", CT_SMALL, scratch / "unused")
        memory = measure(interpreter, tool, "memory", large, scratch / "unused", CT_SMALL)
        rows.append((tool, *left, shown(milliseconds, ".2f"), shown(memory, ".0f")))
    return text_table(rows)


def survivors(interpreter: Path, tool: str, source: Path, result: Path, markers: MarkerFile) -> list[str]:
    """Return how many markers of each place a tool leaves, and how many acquisition attributes it keeps."""
    if "read + write" in tool:
        return [""] * (len(Place) + 1)
    result.unlink(missing_ok=True)
    if measure(interpreter, tool, "once", source, result) is None:
        return ["fails"] * (len(Place) + 1)
    left = Counter(marker.place for marker in markers.survivors(result.read_bytes()))
    return [*(str(left[place]) for place in Place), str(kept(source, result))]


def kept(source: Path, result: Path) -> int:
    """Return how many acquisition attributes have the value they had."""
    try:
        before, after = dcmread(source), dcmread(result)
    except (InvalidDicomError, OSError):
        return 0
    return sum(keyword in after and after[keyword].value == before[keyword].value for keyword in ACQUISITION)


def measure(interpreter: Path, tool: str, what: str, *paths: Path) -> float | None:
    """Run `tools.py` in a process of its own; None if the tool fails."""
    command = [str(interpreter), str(TOOLS_FILE), tool, what, *map(str, paths)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if run.returncode:
        last = (run.stderr.strip().splitlines() or ["no reason given"])[-1]
        say(f"{tool} failed ({what}): {last}")
        return None
    return float(json.loads(run.stdout))


def shown(number: float | None, form: str) -> str:
    """Return a figure for the table."""
    return "fails" if number is None else format(number, form)


def write_large_file(path: Path) -> None:
    """Write a CT image with 200 MiB of pixels."""
    data_set = dcmread(CT_SMALL)
    data_set.Rows = data_set.Columns = LARGE_SIDE
    data_set.PixelData = bytes(LARGE_SIDE * LARGE_SIDE * 2)
    data_set.save_as(path)


def throughput(scratch: Path) -> str:
    """Return how fast the folder command is on all cores."""
    folder = scratch / "folder"
    folder.mkdir()
    data_set = dcmread(CT_SMALL)
    for number in range(FILES):
        data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID = UID(f"1.2.3.{number}")
        data_set.save_as(folder / f"{number}.dcm")
    say(f"De-identifying a folder of {FILES} files")
    command = [sys.executable, "-m", "cli", "deidentify", str(folder), str(scratch / "out")]
    started = time.perf_counter()
    subprocess.run(
        command, cwd=ROOT, env=os.environ | {"PSEUDONYM_KEY": "5a" * 32}, check=True, stdout=subprocess.DEVNULL
    )
    seconds = time.perf_counter() - started
    rate = FILES / seconds
    return f"\nFolder of {FILES} files on {os.cpu_count()} cores, start to end: {seconds:.1f} s, {rate:.0f} files/s\n"


def say(text: str) -> None:
    """Tell how far the run is."""
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
