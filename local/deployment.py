"""Deploys stage `local` to the emulator: the real CDK CLI, the template that every other stage gets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import boto3

from local import cdk
from local.emulator import Emulator, Progress, silent
from local.environment import ACCOUNT, PROJECT_ROOT, REGION, isolated_environment, isolation
from local.errors import LocalRunError
from runtime.contract.names import PROJECT, Output

STAGE = "local"
NO_SETTINGS: Mapping[str, str] = {}


def deploy(
    emulator: Emulator, progress: Progress = silent, settings: Mapping[str, str] = NO_SETTINGS
) -> tuple[Mapping[str, str], Mapping[Output, str]]:
    """Bootstrap the emulator and deploy stage `local` to it.

    Parameters
    ----------
    emulator
        A running emulator.
    progress
        Is told what comes next, in a few words.
    settings
        Of the stage, instead of its own.

    Returns
    -------
    tuple
        The environment in which AWS clients reach this deployment, and the stack's outputs.

    Raises
    ------
    LocalRunError
        What answers is no emulator, or the CDK CLI gave up.
    """
    home = emulator.scratch / "home"
    home.mkdir()
    environment = isolated_environment(emulator.endpoint, home)
    require_emulator(environment)
    progress("Bootstrapping its account (the first run downloads the CDK CLI)")
    # In another folder than the app's, since the CLI would synthesize the app first.
    _cdk("bootstrap", f"aws://{ACCOUNT}/{REGION}", environment=environment, folder=home)
    progress("Synthesizing and deploying the stack, as to AWS")
    outputs = home / "outputs.json"
    context = {"stage": STAGE, "account": ACCOUNT, "region": REGION, **settings}
    with tempfile.TemporaryDirectory(dir=emulator.scratch) as assembly:
        _cdk(
            *("deploy", "--all", "--require-approval", "never", "--outputs-file", str(outputs), "--output", assembly),
            *(word for name, value in context.items() for word in ("--context", f"{name}={value}")),
            environment=environment,
            folder=PROJECT_ROOT,
        )
    published = json.loads(outputs.read_text())[f"{PROJECT}-{STAGE}"]
    return environment, {name: published[name] for name in Output}


def shell_variables(environment: Mapping[str, str], outputs: Mapping[Output, str]) -> dict[str, str]:
    """Return the variables with which a shell talks to what `deploy` deployed: outputs by name, as RAW_BUCKET_NAME."""
    aws = {name: value for name, value in environment.items() if name.startswith("AWS_")}
    return {**aws, "STAGE": STAGE, **{output.name: value for output, value in outputs.items()}}


def require_emulator(environment: Mapping[str, str]) -> None:
    """Ask who answers before anything is created there.

    Raises
    ------
    LocalRunError
        It is not the emulator's account.
    """
    with isolation(environment):
        account = boto3.client("sts").get_caller_identity()["Account"]
    if account != ACCOUNT:
        raise LocalRunError("What answers at the emulator's address has another account's number: nothing was created.")


def _cdk(*arguments: str, environment: Mapping[str, str], folder: Path) -> None:
    process = subprocess.Popen(  # noqa: S603 - all arguments are ours
        cdk.command(*arguments, "--no-notices", "--ci"),
        cwd=folder,
        env={**cdk.with_own_tools(environment), "TMPDIR": environment["HOME"]},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate()
    except BaseException:
        # npx, node and python below it share its process group.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    if process.returncode:
        tail = "\n".join(output.splitlines()[-40:])
        raise LocalRunError(f"`cdk {arguments[0]}` failed; the end of its output says:\n{tail}")
