"""A stage that is deployed already: its state, how it differs from what is synthesized, who gets no mail."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from acceptance.preflight.aws import Aws
from acceptance.preflight.findings import Finding, Verdict
from acceptance.preflight.plan import Target

NOT_CREATED: Final = frozenset({"REVIEW_IN_PROGRESS", "DELETE_COMPLETE"})
"""States of a stack that has no resources yet, or none any more."""
STUCK: Final[Mapping[str, str]] = {
    "ROLLBACK_FAILED": "delete the stack, then deploy",
    "DELETE_FAILED": "delete what its events name, then the stack",
    "UPDATE_ROLLBACK_FAILED": "aws cloudformation continue-update-rollback, after its events' cause is gone",
    "IMPORT_ROLLBACK_FAILED": "aws cloudformation continue-update-rollback, after its events' cause is gone",
}
FEW: Final = 3


@dataclass(frozen=True)
class Deployed:
    """A stack as CloudFormation has it."""

    status: str
    protected: bool
    drift: str
    template: Mapping[str, Any]

    @property
    def resources(self) -> Mapping[str, Any]:
        """Resources by logical id."""
        found: Mapping[str, Any] = self.template.get("Resources", {})
        return found


def read_deployed(aws: Aws, target: Target) -> Deployed | None:
    """Return what of a stack is deployed; None if it isn't.

    Raises
    ------
    UnseenError
        It can't be looked at.
    """
    name, region = target.stack.name, target.region
    found = aws.find("cloudformation", "DescribeStacks", region=region, StackName=name)
    if found is None or found["Stacks"][0]["StackStatus"] in NOT_CREATED:
        return None
    (stack,) = found["Stacks"]
    body = aws.ask("cloudformation", "GetTemplate", region=region, StackName=name, TemplateStage="Original")[
        "TemplateBody"
    ]
    return Deployed(
        status=stack["StackStatus"],
        protected=stack.get("EnableTerminationProtection", False),
        drift=stack.get("DriftInformation", {}).get("StackDriftStatus", "NOT_CHECKED"),
        template=json.loads(body) if isinstance(body, str) else body,
    )


def check_state(target: Target, deployed: Deployed | None) -> Iterator[Finding]:
    """Tell whether the stack can be created or updated as it is."""
    check = f"stack {target.region}"
    if deployed is None:
        yield Finding(check, Verdict.OK, "not deployed yet")
        return
    status = deployed.status
    if needed := STUCK.get(status):
        yield Finding(check, Verdict.FAILURE, status, needed)
    elif status.endswith("_IN_PROGRESS"):
        yield Finding(check, Verdict.FAILURE, status, "wait until it has ended")
    elif status == "ROLLBACK_COMPLETE" and deployed.protected:
        needed = "turn its termination protection off, and delete it: its first deployment failed"
        yield Finding(check, Verdict.FAILURE, status, needed)
    elif status == "ROLLBACK_COMPLETE":
        yield Finding(check, Verdict.WARNING, status, "its first deployment failed; cdk deletes it and begins again")
    else:
        yield Finding(check, Verdict.OK, status)


def check_settings(target: Target, deployed: Deployed) -> Iterator[Finding]:
    """Compare the deployed template with the synthesized one, and tell of drift that CloudFormation knows."""
    check, before, after = f"settings {target.region}", deployed.resources, target.stack.resources
    changes = {
        "new": sorted(after.keys() - before.keys()),
        "changed": sorted(name for name in after.keys() & before.keys() if _is_other(before[name], after[name])),
        "gone": sorted(before.keys() - after.keys()),
    }
    told = [f"{len(names)} {how}: {_few(names)}" for how, names in changes.items() if names]
    if told:
        needed = "deploying changes these: if that isn't meant, give the settings of the last deployment"
        yield Finding(check, Verdict.WARNING, "; ".join(told), needed)
    else:
        yield Finding(check, Verdict.OK, "as synthesized")
    if deployed.drift == "DRIFTED":
        needed = "what was changed by hand is changed back, or in the way: see the stack's drifts"
        yield Finding(f"drift {target.region}", Verdict.WARNING, "resources differ from their template", needed)
    else:
        seen = {"IN_SYNC": "none when CloudFormation last looked"}.get(deployed.drift, "CloudFormation never looked")
        yield Finding(f"drift {target.region}", Verdict.OK, seen)


def check_subscriptions(aws: Aws, target: Target) -> Iterator[Finding]:
    """Find mail addresses that have not confirmed that they want the stage's messages."""
    wanted = {
        (target.text(properties["TopicArn"]), target.text(properties["Endpoint"]))
        for _, properties in target.resources("AWS::SNS::Subscription")
        if properties["Protocol"] == "email"
    }
    check, confirmed = f"mail {target.region}", set()
    for topic in sorted({topic for topic, _ in wanted}):
        arn = target.arn("sns", topic)
        found = aws.every("sns", "ListSubscriptionsByTopic", "Subscriptions", region=target.region, TopicArn=arn)
        confirmed |= {(topic, each["Endpoint"]) for each in found if each["SubscriptionArn"].startswith("arn:")}
    silent = sorted({address for topic, address in wanted - confirmed})
    if silent:
        needed = "ask them to confirm AWS's mail; after three days deploy their subscription again"
        yield Finding(check, Verdict.WARNING, f"not confirmed: {', '.join(silent)}", needed)
    elif wanted:
        yield Finding(check, Verdict.OK, "every address confirmed")


def _is_other(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Tell whether a resource differs in more than CDK's notes on it."""
    return {**before, "Metadata": None} != {**after, "Metadata": None}


def _few(names: list[str]) -> str:
    return ", ".join(names[:FEW]) + (", ..." if len(names) > FEW else "")
