"""What AWS itself would tell of an object: logs of executions, events, notifications, tags, counts, alarms."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from imaging_pipeline.stages.definitions import STAGES
from runtime.contract.events import ANNOUNCEMENTS, EventType
from runtime.contract.names import State
from tests.infrastructure.conftest import StageTemplate

TELLS_NOTHING = {
    "$.detail": "an event of our own, which is one of the contract's announcements",
    "$.detail.status": "of an execution",
    "$.detail.executionArn": "its name is the object's id",
}
"""Paths of events that may go to a topic. The whole event of an execution has its input, and so the object's key."""
THE_OBJECT = re.compile(r"\$\.object\b|\$\$\.Execution\.Input(\.object\b|$|['\"),])|\$\.step\b(?!\.body\.\w)|^\$$")
"""Paths that lead to the object's coordinates or to the text of an error."""


@pytest.fixture(params=["STANDARD", "EXPRESS"])
def workflow(request: pytest.FixtureRequest) -> StageTemplate:
    return StageTemplate("dev", workflow_type=request.param)


def paths(value: Any) -> Iterator[str]:
    """Yield every path and intrinsic function of a payload template."""
    match value:
        case dict():
            for name, each in value.items():
                if isinstance(each, str) and name.endswith(".$"):
                    yield each
                yield from paths(each)
        case list():
            for each in value:
                yield from paths(each)


def tasks(template: StageTemplate, action: str) -> dict[str, Any]:
    """Parameters of the states that call an action, by state."""
    found = {
        name: state["Parameters"]
        for name, state in template.states.items()
        if state["Type"] == "Task" and action in json.dumps(state["Resource"])
    }
    assert found, action
    return found


def test_should_log_executions_without_their_data(every_stage: StageTemplate) -> None:
    machines = every_stage.resources("AWS::StepFunctions::StateMachine")
    assert len(machines) == 2
    for machine in machines.values():
        assert machine["Properties"]["LoggingConfiguration"]["IncludeExecutionData"] is False


@pytest.mark.parametrize("name", STAGES)
def test_should_tell_topics_of_an_event_only_what_holds_no_key(name: str) -> None:
    stage = StageTemplate(name, failure_notifications=True)
    topics = set(stage.resources("AWS::SNS::Topic"))
    told = []
    for rule in stage.resources("AWS::Events::Rule").values():
        for target in rule["Properties"]["Targets"]:
            if target["Arn"].get("Ref") in topics:
                assert "InputPath" in target or "InputTransformer" in target, "the whole event"
                transformer = target.get("InputTransformer", {"InputPathsMap": {"whole": target.get("InputPath")}})
                told += transformer["InputPathsMap"].values()
    assert set(told) == set(TELLS_NOTHING)


def test_should_announce_only_what_the_contract_names(workflow: StageTemplate) -> None:
    for parameters in tasks(workflow, "events:putEvents").values():
        (entry,) = parameters["Entries"]
        fields = {name.removesuffix(".$") for name in entry["Detail"]}
        assert fields == set(ANNOUNCEMENTS[EventType(entry["DetailType"])].model_fields)


@pytest.mark.parametrize("action", ["events:putEvents", "cloudwatch:putMetricData", "dynamodb:updateItem"])
def test_should_give_no_event_count_or_verdict_a_path_to_the_object(workflow: StageTemplate, action: str) -> None:
    for name, parameters in tasks(workflow, action).items():
        told = [path for path in paths(parameters) if THE_OBJECT.search(path)]
        assert not told, name
    assert not list(paths(tasks(workflow, "putMetricData"))), "counts are constant, and so are their dimensions"


def test_should_tag_an_object_with_codes_alone(workflow: StageTemplate) -> None:
    (parameters,) = tasks(workflow, "putObjectTagging").values()
    assert list(paths(parameters["Tagging"])) == ["$.reason_codes"]


def test_should_keep_of_an_error_its_name(workflow: StageTemplate) -> None:
    """The text of an error is under `Cause`, beside its name."""
    handler = workflow.states[State.ERROR_HANDLER]
    assert list(paths(handler["Parameters"])) == ["$.step.Error"]
    failure = workflow.states[State.FAILURE]
    assert failure["ErrorPath"] == "$.error"
    assert "CausePath" not in failure
    for state in workflow.states.values():
        for catcher in state.get("Catch", []):
            assert catcher["ResultPath"] in (None, "$.step")


def test_should_describe_alarms_rules_and_functions_in_constant_text(every_stage: StageTemplate) -> None:
    for resource in every_stage.json["Resources"].values():
        for name in ("AlarmDescription", "Description"):
            assert isinstance(resource.get("Properties", {}).get(name, ""), str)


def test_should_send_no_event_of_a_function_anywhere(every_stage: StageTemplate) -> None:
    """A destination or dead-letter queue of asynchronous invocations would be told the event, and the error's text."""
    for invocations in every_stage.resources("AWS::Lambda::EventInvokeConfig").values():
        assert "DestinationConfig" not in invocations["Properties"]
    for function in every_stage.resources("AWS::Lambda::Function").values():
        assert "DeadLetterConfig" not in function["Properties"]


def test_should_publish_names_and_addresses_of_resources_alone(every_stage: StageTemplate) -> None:
    outputs = {name: output["Value"] for name, output in every_stage.json["Outputs"].items()}
    assert outputs
    constant = [name for name, value in outputs.items() if isinstance(value, str)]
    assert not constant
