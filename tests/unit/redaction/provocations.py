"""Errors as the libraries, AWS and Python raise them, each with a marker in what it quotes."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import sys
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, Never

import boto3
import pydicom
from aws_lambda_powertools.utilities.parser import parse
from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError, HTTPClientError, ReadTimeoutError
from pydicom.charset import convert_encodings
from pydicom.valuerep import DT, IS, DSfloat, validate_value

from runtime.contract.objects import ExecutionInput, IntakeMessage, ObjectCoordinates
from tests.markers import Script

MARKER = Script.ASCII.marker(0x1234)
KEY = f"{MARKER}/{MARKER}.dcm"


def pydicom_time() -> None:
    DT(MARKER)


def pydicom_integer() -> None:
    IS(MARKER)


def pydicom_decimal() -> None:
    DSfloat(MARKER)


def pydicom_value() -> None:
    validate_value("UI", MARKER, pydicom.config.RAISE)


def pydicom_character_set() -> None:
    with warnings.catch_warnings(action="error"):
        convert_encodings(["ISO_IR 6", MARKER])


def pydicom_attribute() -> None:
    data_set = pydicom.Dataset()
    data_set.PatientName = MARKER
    getattr(data_set, MARKER)


def pydicom_file() -> None:
    pydicom.dcmread(f"/{KEY}")


def pydantic_model() -> None:
    ObjectCoordinates.model_validate({"bucket": MARKER, "key": [KEY], "size": MARKER, MARKER: 1})


def pydantic_json() -> None:
    IntakeMessage.model_validate_json(json.dumps({"detail": {"object": {"key": [KEY]}}}))


def pydantic_broken_json() -> None:
    IntakeMessage.model_validate_json(KEY)


def powertools_parser() -> None:
    parse(event={"object": {"key": KEY}}, model=ExecutionInput)


def aws_refusal() -> None:
    error: Any = {"Code": "AccessDenied", "Message": f"no right on s3://raw/{KEY}", "Key": KEY, "Resource": f"/{KEY}"}
    raise ClientError({"Error": error, "ResponseMetadata": {"HTTPStatusCode": 403, "HTTPHeaders": {}}}, "GetObject")  # type: ignore[typeddict-item]


def aws_refusal_with_a_key_for_a_code() -> None:
    raise ClientError({"Error": {"Code": f"NoSuchKey /{KEY}", "Message": KEY}}, "GetObject")


def aws_refusal_without_a_code() -> None:
    raise ClientError({"Error": {"Message": KEY}}, "GetObject")


def aws_parameter() -> None:
    _client().get_object(Bucket="raw", Key=[KEY])


def aws_bucket_name() -> None:
    _client().get_object(Bucket=f"{MARKER}/", Key=KEY)


def aws_endpoint() -> None:
    raise EndpointConnectionError(endpoint_url=f"https://raw.s3.amazonaws.com/{KEY}")


def aws_connection() -> None:
    raise HTTPClientError(error=f"https://raw.s3.amazonaws.com/{KEY}", request=KEY, response=KEY)


def aws_time_out() -> None:
    raise ReadTimeoutError(endpoint_url=f"https://raw.s3.amazonaws.com/{KEY}")


def json_value() -> None:
    json.loads(f'{{"{KEY}": {MARKER}}}')


def text_encoding() -> None:
    (MARKER.encode() + b"\xff").decode()


def key_error() -> None:
    dict[str, str]()[KEY]


def file_error() -> None:
    open(f"/{KEY}")  # noqa: PTH123, SIM115


def number() -> None:
    int(MARKER)


def recursion() -> None:
    def deeper(value: str) -> str:
        return f"{deeper(value)}{value}"

    deeper(MARKER)


def recursion_in_json() -> None:
    json.loads('{"' + MARKER + '":' + "[" * 100_000)


def memory() -> None:
    raise MemoryError(MARKER)


def operating_system() -> None:
    raise OSError(28, "No space left on device", f"/tmp/{KEY}")


def chained() -> None:
    try:
        int(MARKER)
    except ValueError as error:
        raise RuntimeError(MARKER) from error


def in_the_handling_of_another() -> None:
    try:
        int(MARKER)
    except ValueError:
        raise KeyError(KEY)  # noqa: B904


def chained_and_hidden() -> None:
    try:
        int(MARKER)
    except ValueError:
        raise RuntimeError(MARKER) from None


def noted() -> None:
    error = ValueError(MARKER)
    error.add_note(MARKER)
    raise error


def group() -> None:
    raise ExceptionGroup(MARKER, [ValueError(MARKER), ExceptionGroup(MARKER, [KeyError(KEY)])])


def named_by_its_object() -> None:
    class ToldError(Exception):
        def __str__(self) -> str:
            raise ValueError(MARKER)

        __repr__ = __str__

    raise ToldError(MARKER)


def in_a_thread_of_a_pool() -> None:
    with ThreadPoolExecutor(1) as threads:
        threads.submit(key_error).result()


def in_a_thread_of_its_own() -> None:
    thread = threading.Thread(target=key_error, name=MARKER)
    thread.start()
    thread.join()
    raise RuntimeError(MARKER)


def in_a_finalizer() -> None:
    class Dying:
        def __del__(self) -> None:
            raise ValueError(MARKER)

    Dying()
    gc.collect()
    raise RuntimeError(MARKER)


def logged_and_warned() -> None:
    for name in (None, "botocore", "urllib3.connectionpool", "pydicom", "aws_xray_sdk", "asyncio"):
        logging.getLogger(name).error("%s", MARKER, exc_info=ValueError(MARKER))
    logging.getLogger("urllib3").critical("%d", MARKER)  # can't be formatted: Python would quote it
    apart = logging.getLogger("apart")
    apart.propagate = False
    apart.error(MARKER)  # has no handler: Python's last resort would write it
    warnings.warn(MARKER, stacklevel=1)
    raise RuntimeError(MARKER)


def system_exit() -> None:
    sys.exit(MARKER)


def interrupt() -> None:
    raise KeyboardInterrupt(MARKER)


def cancelled() -> None:
    raise asyncio.CancelledError(MARKER)


def _panic() -> Never:
    panic: type[BaseException] = type("PanicException", (BaseException,), {"__module__": "pyo3_runtime"})
    raise panic(f"byte index 1 is not a char boundary of `{MARKER}`")


def panic() -> None:
    """As code in Rust panics, such as pydantic's core: not an `Exception`."""
    _panic()


@cache
def _client() -> Any:
    config = Config(retries={"total_max_attempts": 1})
    return boto3.Session("test", "test", region_name="us-east-1").client("s3", config=config)


Provocation = Callable[[], None]

ERRORS: tuple[Provocation, ...] = (
    pydicom_time,
    pydicom_integer,
    pydicom_decimal,
    pydicom_value,
    pydicom_character_set,
    pydicom_attribute,
    pydicom_file,
    pydantic_model,
    pydantic_json,
    pydantic_broken_json,
    powertools_parser,
    aws_refusal,
    aws_refusal_with_a_key_for_a_code,
    aws_refusal_without_a_code,
    aws_parameter,
    aws_bucket_name,
    aws_endpoint,
    aws_connection,
    aws_time_out,
    json_value,
    text_encoding,
    key_error,
    file_error,
    number,
    recursion,
    recursion_in_json,
    memory,
    operating_system,
    chained,
    in_the_handling_of_another,
    chained_and_hidden,
    noted,
    group,
    named_by_its_object,
    in_a_thread_of_a_pool,
    in_a_thread_of_its_own,
    in_a_finalizer,
    logged_and_warned,
)
"""Each raises an `Exception`."""

EXITS: tuple[Provocation, ...] = (system_exit, interrupt, cancelled, panic)
"""Each raises what is no `Exception`, and so passes those who catch them all."""
