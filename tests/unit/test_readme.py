"""README and docs: the commands they show exist, and those that need no AWS work as they stand."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from cli import PROGRAM
from cli.__main__ import main
from cli.commands import COMMANDS
from cli.parser import command_line

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENTS = [REPOSITORY / "README.md", *sorted(REPOSITORY.glob("docs/*.md"))]
LOCAL = {"deidentify", "explain", "completion"}
"""Commands that ask nothing of AWS."""
MEANT = {"<object id>": "0" * 32, "<name>": "research"}
"""What stands for a placeholder; for the others, their own name does."""


def examples(document: Path) -> Iterator[list[str]]:
    """Yield the arguments of each command in a block of code or in a line of text; an ellipsis leaves some out."""
    text = document.read_text("utf-8")
    for placeholder, value in MEANT.items():
        text = text.replace(placeholder, value)
    text = re.sub(r"<([a-z ]+)>", lambda match: match[1].replace(" ", "-"), text)
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    inline = re.findall(r"`([^`]+)`", re.sub(r"^```\w*\n.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    for line in (*lines, *inline):
        for command in re.findall(rf"(?:^|\$\(){PROGRAM} ([^#)]+)", line.replace("\n", " ")):
            yield shlex.split(command)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_should_show_commands_as_they_are(document: Path) -> None:
    for arguments in examples(document):
        assert arguments[0] in COMMANDS
        if len(arguments) > 1 and "…" not in arguments:
            command_line(arguments[:1]).parse_args(arguments)


def test_should_show_commands_of_the_readme_that_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "IN").mkdir()
    shutil.copy(str(get_testdata_file("CT_small.dcm")), tmp_path / "IN")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PSEUDONYM_KEY", raising=False)
    shown = [arguments for arguments in examples(REPOSITORY / "README.md") if arguments[0] in LOCAL]
    assert {arguments[0] for arguments in shown} == LOCAL
    for arguments in shown:
        assert main(arguments) == 0, arguments
        assert capsys.readouterr().out


def test_should_describe_options_that_commands_have(capsys: pytest.CaptureFixture[str]) -> None:
    _, _, table = (REPOSITORY / "docs/operations.md").read_text("utf-8").partition("| command | does |")
    cells = "".join(re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE))
    usages = [usage for usage in re.findall("`([^`]+)`", cells) if usage.split()[0] in COMMANDS]
    assert set(COMMANDS) - LOCAL <= {usage.split()[0] for usage in usages}
    for usage in usages:
        command, *rest = usage.split()
        action = [word for word in rest[:1] if re.fullmatch("[a-z]+", word) and command != "completion"]
        with pytest.raises(SystemExit):
            main([command, *action, "--help"])
        options = set(re.findall("--[a-z-]+", capsys.readouterr().out))
        assert set(re.findall("--[a-z-]+", usage)) <= options, usage
