"""Matrix of rights: who reads, writes and decrypts what in each zone, as letters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal

from imaging_pipeline.operations.review.assembly import Stack
from imaging_pipeline.operations.review.facts import PROHIBITION, Fact, Facts, Lines
from imaging_pipeline.operations.review.names import ANYTHING, Names, references
from imaging_pipeline.operations.review.rights import ASSUMED_BY, BOUNDARY, THROUGH
from runtime.contract.names import Output

Column = Literal["raw", "records", "secret", "PHI key", "results", "events", "RES key", "other"]
Matrix = Mapping[str, Mapping[Column, str]]
"""Letters by who has the rights, and by column."""

PHI_ZONE: Final[tuple[Column, ...]] = ("raw", "records", "secret", "PHI key")
RESEARCH_ZONE: Final[tuple[Column, ...]] = ("results", "events", "RES key")
COLUMNS: Final[tuple[Column, ...]] = (*PHI_ZONE, *RESEARCH_ZONE, "other")
PUBLISHED: Final[Mapping[str, Column]] = {
    Output.RAW_BUCKET_NAME: "raw",
    "RawReplicaName": "raw",
    Output.PROCESSED_BUCKET_NAME: "results",
    "ProcessedReplicaName": "results",
    Output.EVENT_BUS_NAME: "events",
    Output.DELIVERY_TOPIC_ARN: "events",
    Output.LINK_AUDIT_TABLE_NAME: "events",
}
"""Columns of the stores that an output names. Every other store counts as PHI."""
STORES: Final[Mapping[str, Column]] = {
    "AWS::DynamoDB::GlobalTable": "records",
    "AWS::DynamoDB::Table": "records",
    "AWS::Events::EventBus": "records",
    "AWS::KMS::Key": "PHI key",
    "AWS::KMS::ReplicaKey": "PHI key",
    "AWS::S3::Bucket": "records",
    "AWS::SNS::Topic": "records",
    "AWS::SQS::Queue": "records",
    "AWS::SecretsManager::Secret": "secret",
}
"""Columns of stores by type, where nothing says more."""

LETTERS: Final[Mapping[str, re.Pattern[str]]] = {
    letter: re.compile(pattern)
    for letter, pattern in {
        # Functions' own logs, metrics, traces and network interfaces say nothing about data.
        "": r"logs:(CreateLogStream|PutLogEvents)|cloudwatch:PutMetricData|xray:\w+"
        r"|ec2:\w+(NetworkInterfaces?|PrivateIpAddresses|Subnets)",
        "T": r"s3:(Put\w+Tagging|ReplicateTags)",
        "R": r"s3:GetObject(?!\w*(Acl|LegalHold|Retention|Tagging))\w*\*?|dynamodb:(Batch)?GetItem"
        r"|dynamodb:(GetRecords|Query|Scan|PartiQLSelect)|sqs:ReceiveMessage|secretsmanager:(Batch)?GetSecretValue|logs:(Get|Filter)LogEvents",
        "W": r"s3:(PutObject(?!\w*(Acl|LegalHold|Retention))|DeleteObject|AbortMultipartUpload|Replicate|Restore)\w*"
        r"|dynamodb:((Put|Update|Delete|BatchWrite)Item|PartiQL(Insert|Update|Delete))|sns:Publish|events:PutEvents"
        r"|sqs:(SendMessage|DeleteMessage|ChangeMessageVisibility|PurgeQueue)",
        "D": r"kms:(Decrypt|ReEncryptFrom)",
        "E": r"kms:(Encrypt|GenerateDataKey\w*\*?|ReEncryptTo)",
        "DE": r"kms:ReEncrypt\*",
        "X": r"lambda:Invoke\w+|states:(Start|Stop|Redrive)\w+|sts:AssumeRole",
    }.items()
}
SEVERAL: Final = re.compile(rf"{ANYTHING}$|{ANYTHING} but |`arn(:[^:]*){{4}}:(table/|secret:|key/)?[^:/`]*\*")
"""Anything, and ARNs that stand for resources of several names."""
LOOKS: Final = re.compile(r"\w+:(Describe|Get|List|ConditionCheck)\w+")
ORDER: Final = "RLWTDEXA*"
LEGEND: Final = """\
R reads contents, L lists names or reads settings, W writes or deletes, T tags, D decrypts, E encrypts, X starts or \
invokes, A does something else, * does everything. PHI zone: raw objects; records, that is ledger, audit, queues, \
reports and access logs; secret, the pseudonym key; the zone's key. Research zone: results; events, that is bus, topic \
and audit of links; the zone's key. Other: functions, workflows, logs, and anything outside the stage.\
"""


def matrix(stacks: Sequence[Stack], names: Names, rights: Facts) -> Matrix:
    """Return the letters of whoever has rights to data; prohibitions and conditions don't count."""
    column_of = columns(stacks, names)
    services: dict[str, set[Column]] = {}
    for stack in stacks:
        for logical_id, resource in stack.of_type(*STORES):
            service = resource["Type"].split("::")[1].lower()
            services.setdefault(service, set()).add(column_of[names.of(stack, logical_id)])
    return {
        subject: {column: found for column in COLUMNS if (found := _letters(facts, column, column_of, services))}
        for subject, facts in rights.items()
    }


def rows(now: Matrix, base: Matrix | None) -> Iterator[tuple[str, ...]]:
    """Yield the cells of each row, headings first; letters that are new since the base have a `+`, lost ones a `-`."""
    yield ("", *COLUMNS)
    before = now if base is None else base
    for subject in sorted({*now, *before}):
        ours, theirs = now.get(subject, {}), before.get(subject, {})
        yield (subject, *(_cell(ours.get(column, ""), theirs.get(column, "")) for column in COLUMNS))


def spanning(of: Matrix) -> Lines:
    """Return who reads in the PHI zone and writes in the research zone."""
    found = [
        subject
        for subject, cells in sorted(of.items())
        if any({*"RD*"} & {*cells.get(column, "")} for column in PHI_ZONE)
        and any({*"WE*"} & {*cells.get(column, "")} for column in RESEARCH_ZONE)
    ]
    return {"reads or decrypts PHI, and writes research data": ", ".join(found) or "nobody"}


def _cell(now: str, base: str) -> str:
    marks = (("+" if letter not in base else "-" if letter not in now else "", letter) for letter in ORDER)
    return "".join(mark + letter for mark, letter in marks if letter in now + base)


def columns(stacks: Sequence[Stack], names: Names) -> Mapping[str, Column]:
    """Return the column of each store by its name."""
    found: dict[str, Column] = {}
    for stack in stacks:
        published = {
            logical_id: column
            for output, column in PUBLISHED.items()
            for logical_id in references(stack.output(output))
        }
        research_keys = {
            key
            for logical_id, bucket in stack.of_type("AWS::S3::Bucket")
            if published.get(logical_id) == "results"
            for key in references(bucket["Properties"].get("BucketEncryption"))
        }
        for logical_id, resource in stack.of_type(*STORES):
            by_type: Column = "RES key" if logical_id in research_keys else STORES[resource["Type"]]
            found[names.of(stack, logical_id)] = published.get(logical_id, by_type)
    return found


def _letters(
    facts: Iterable[Fact], column: Column, column_of: Mapping[str, Column], services: Mapping[str, set[Column]]
) -> str:
    found = {
        letter
        for fact in facts
        if not fact.says.startswith(PROHIBITION) and fact.about not in {ASSUMED_BY, BOUNDARY}
        if column in _meant(fact, column_of, services)
        for letter in _of_action(fact.says)
    }
    return "".join(letter for letter in ORDER if letter in found)


def _meant(fact: Fact, column_of: Mapping[str, Column], services: Mapping[str, set[Column]]) -> Iterable[Column]:
    """Return the columns a right is about; a part of a resource counts as all of it."""
    if THROUGH in fact.about:  # of a VPC endpoint, which gives nobody a right
        return ()
    if not SEVERAL.match(fact.about):
        return (column_of.get(fact.about.partition(" (`")[0], "other"),)
    service = fact.says.partition(":")[0]
    return services.get(service, ("other",)) if service.isalnum() else COLUMNS


def _of_action(action: str) -> str:
    for letters, pattern in LETTERS.items():
        if pattern.fullmatch(action):
            return letters
    if "*" in action:
        return "*"
    return "L" if LOOKS.fullmatch(action) else "A"
