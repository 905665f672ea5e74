"""The page: what answers at a glance first, and the details folded beneath it."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Final, final

from imaging_pipeline.operations.cost.assumptions import Assumptions
from imaging_pipeline.operations.cost.monthly import fixed, kept
from imaging_pipeline.operations.cost.per_object import bill
from imaging_pipeline.operations.cost.prices import CURRENCY, DATE, costs_by_service, total
from imaging_pipeline.operations.cost.report import Bill
from imaging_pipeline.operations.cost.templates import Templates
from imaging_pipeline.operations.review import stores
from imaging_pipeline.operations.review.assembly import Stack
from imaging_pipeline.operations.review.facts import Facts, Lines, compared, difference, statements
from imaging_pipeline.operations.review.matrix import LEGEND, Matrix, matrix, rows, spanning
from imaging_pipeline.operations.review.names import Names, references
from imaging_pipeline.operations.review.release import access, addresses, profile, profile_name, variable
from imaging_pipeline.operations.review.rights import THROUGH, Rights, gains
from runtime.contract.names import Output

WIDTH: Final = 100
OBJECTS_PER_DAY: Final = 10_000
NOUN: Final = re.compile(r"( (?:event bus|log group|state machine|\S+))$")
SERVICE: Final = ".amazonaws.com"
LONGEST_CONDITION: Final = 70
HEAD: Final = "What is deployed"
ZONES: Final = "Who reads, writes and decrypts"


@final
class Review:
    """What the page says of an assembly.

    Parameters
    ----------
    stacks
        The assembly.

    Attributes
    ----------
    rights
        Of whoever has any.
    services
        Services of AWS, and this account, which the policies of resources let in.
    matrix
        Rights of everybody else, as letters.
    """

    def __init__(self, stacks: Sequence[Stack]) -> None:
        self._stacks = stacks
        self._names = Names(stacks)
        self._rights = Rights(stacks, self._names)
        self.rights: Facts = {**self._rights.of_roles, **self._rights.of_others}
        self.services = sorted(filter(_aws, self._rights.of_others))
        people = {
            subject if subject in self._rights.of_roles else f"OUTSIDE: {subject}": facts
            for subject, facts in self.rights.items()
            if not _aws(subject)
        }
        letters = matrix(stacks, self._names, people)
        self.matrix: Matrix = {_short(subject): cells for subject, cells in letters.items() if cells}

    @cached_property
    def lines(self) -> Mapping[str, Lines]:
        """What the page says besides, by section."""
        by_profile = {label: text for stack in self._stacks for label, text in profile(stack).items()}
        return {
            HEAD: dict(self._deployed()),
            ZONES: spanning(self.matrix),
            "What leaves the hospital": {**by_profile, **access(self._stacks, self._names, self._rights)},
            "What is kept, for how long, by which key": stores.kept(self._stacks, self._names),
            f"What it costs, at list prices of {DATE}": self._cost(),
            "Who hears alarms": dict(sorted(self._alarms())),
        }

    def _deployed(self) -> Iterator[tuple[str, str]]:
        for stack in self._stacks:
            place = f"account {stack.account or 'of whoever deploys'}, region {stack.region or 'of whoever deploys'}"
            protected = "on" if stack.properties.get("terminationProtection") else "OFF"
            yield stack.name, f"{place}, termination protection {protected}"
        for stack in self._stacks:
            for version in variable(stack, "CODE_VERSION"):
                yield "code", version[:12]
            if name := profile_name(stack):
                yield "profile", name

    def _cost(self) -> Lines:
        """Cost of the stack with the workflow; the estimate may not know the structure of another revision."""
        for stack in self._stacks:
            if stack.output(Output.STATE_MACHINE_ARN):
                replica = next((each.template for each in self._stacks if each.name == f"{stack.name}-replica"), None)
                try:
                    return _cost(Templates(stack.template, replica))
                except (LookupError, ValueError, TypeError) as error:
                    return {"costs": f"can't be estimated: {error}"}
        return {}

    def _alarms(self) -> Iterator[tuple[str, str]]:
        for stack in self._stacks:
            told: dict[str, int] = {}
            for logical_id, alarm in stack.of_type("AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm"):
                topics = list(references(alarm["Properties"].get("AlarmActions")))
                if alarm["Properties"].get("ActionsEnabled") is False or not topics:
                    yield self._names.of(stack, logical_id), "tells NOBODY"
                told |= {topic: told.get(topic, 0) + 1 for topic in topics}
            for topic, count in told.items():
                heard = sorted(address for each, address in addresses(stack, self._names) if each == topic)
                whom = ", ".join(heard) or "NOBODY YET: set alert_emails, or subscribe to it"
                yield self._names.of(stack, topic), f"{count} alarms, told to {whom}"


def page(now: Review, base: Review | None, compared_with: str) -> Iterator[str]:
    """Yield the lines of the page."""
    lines = {title: compared(said, base and base.lines[title]) for title, said in now.lines.items()}
    yield from ("# Review", "", *_bullets({**lines.pop(HEAD), "compared with": compared_with}))
    if base:
        yield from ("", "## Who gains rights", "", *_gains(gains(now.rights, base.rights)))
    yield from ("", f"## {ZONES}", "", *_table(list(rows(now.matrix, base and base.matrix))), "")
    yield from _wrapped(LEGEND, "")
    let_in = {"let in by policies of resources (below)": ", ".join(now.services) or "nobody"}
    yield from ("", *_bullets({**lines.pop(ZONES), **let_in}))
    for title, said in lines.items():
        if said:
            yield from ("", f"## {title}", "", *_bullets(said))


def details(now: Review, base: Review | None) -> Iterator[str]:
    """Yield the folded lines beneath the page."""
    if base:
        gone, new = difference(base.rights, now.rights), difference(now.rights, base.rights)
        yield from _folded("Changed rights", _diff((("-", gone), ("+", new))) if gone or new else ["None."])
    others = set(now.services)
    yield from _folded("Every right of each role", _nested({n: f for n, f in now.rights.items() if n not in others}))
    yield from _folded(
        "What policies of resources allow services and this account", _nested({n: now.rights[n] for n in others})
    )


def _gains(gained: Facts) -> Iterator[str]:
    """Write what anybody gains; of services and through VPC endpoints the number is enough here."""
    first = {
        subject: frozenset(fact for fact in facts if THROUGH not in fact.about)
        for subject, facts in gained.items()
        if not subject.endswith(SERVICE)
    }
    bearers: dict[str, list[str]] = {}
    for subject, text in statements(first, longest_condition=LONGEST_CONDITION):
        bearers.setdefault(text, []).append(subject)
    if bearers:
        yield "```diff"
        for text, subjects in bearers.items():
            yield from _wrapped(f"! {_together(subjects)}: {text}", "!   ")
        yield "```"
    else:
        yield "Nobody."
    if others := sum(map(len, gained.values())) - sum(map(len, first.values())):
        yield from ("", f"Services, or whoever comes through a VPC endpoint, gain {others} more: see below.")


def _cost(templates: Templates) -> Lines:
    assumed = Assumptions()
    costs = Bill(
        million=bill(templates, assumed),
        fixed=fixed(templates, assumed),
        kept=kept(templates, assumed, objects_per_day=OBJECTS_PER_DAY),
    )
    services = ", ".join(f"{service} {cost:,.2f}" for service, cost in costs_by_service(costs.million).items())
    idle = total(costs.fixed)
    month = costs.objects(OBJECTS_PER_DAY) + idle
    return {
        "a million objects": f"{total(costs.million):,.2f} {CURRENCY} ({services})",
        f"a month at {OBJECTS_PER_DAY:,} objects a day": f"{month:,.2f} {CURRENCY}, {idle:,.2f} without any object",
        "the same after a year": f"{month + total(costs.kept):,.2f} {CURRENCY}, with what is kept by then",
    }


def _short(subject: str) -> str:
    return ", ".join(name.removesuffix(" function").removesuffix(" role") for name in subject.split(", "))


def _aws(subject: str) -> bool:
    return subject == "this account" or subject.endswith(SERVICE)


def _bullets(lines: Lines) -> Iterator[str]:
    """Write labels that have the same text as one line."""
    labels: dict[str, list[str]] = {}
    for label, text in lines.items():
        labels.setdefault(text, []).append(label)
    for text, alike in labels.items():
        yield from _wrapped(f"- **{_together(alike)}**: {text}", "  ")


def _together(names: Sequence[str]) -> str:
    """List names, and the noun that several end with once: `raw, processed bucket`."""
    by_noun: dict[str, list[str]] = {}
    for name in names:
        start, noun, *_ = *NOUN.split(name), ""
        by_noun.setdefault(noun, []).append(start)
    return ", ".join(", ".join(starts) + noun for noun, starts in by_noun.items())


def _table(cells: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    head, *body = [
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |" for row in cells
    ]
    yield from (head, f"|{'|'.join('-' * (width + 2) for width in widths)}|", *body)


def _diff(marks: Iterable[tuple[str, Facts]]) -> Iterator[str]:
    """Write statements as a diff, by subject."""
    lines = [(subject, mark, text) for mark, facts in marks for subject, text in statements(facts)]
    yield "```diff"
    for subject, mark, text in sorted(lines, key=lambda line: line[0]):
        yield from _wrapped(f"{mark} {subject}: {text}", f"{mark}   ")
    yield "```"


def _nested(facts: Facts) -> Iterator[str]:
    for subject in sorted(facts):
        yield f"- **{subject}**"
        yield from (
            line for _, text in statements({subject: facts[subject]}) for line in _wrapped(f"  - {text}", "    ")
        )


def _folded(title: str, lines: Iterable[str]) -> Iterator[str]:
    yield from ("", "<details>", f"<summary>{title}</summary>", "", *lines, "", "</details>")


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
