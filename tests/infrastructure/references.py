"""What the references in a template stand for, as if it were deployed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

ACCOUNT: Final = "111122223333"
REGION: Final = "us-east-1"

# ARNs by type, of the name or, where a stack leaves it to CloudFormation, of the logical id.
_ARNS: Final = {
    "AWS::CloudTrail::Trail": "arn:aws:cloudtrail:{region}:{account}:trail/{name}",
    "AWS::CloudWatch::Alarm": "arn:aws:cloudwatch:{region}:{account}:alarm:{name}",
    "AWS::DynamoDB::Table": "arn:aws:dynamodb:{region}:{account}:table/{name}",
    "AWS::Events::EventBus": "arn:aws:events:{region}:{account}:event-bus/{name}",
    "AWS::Events::Rule": "arn:aws:events:{region}:{account}:rule/{name}",
    "AWS::IAM::ManagedPolicy": "arn:aws:iam::{account}:policy/{name}",
    "AWS::IAM::Role": "arn:aws:iam::{account}:role/{name}",
    "AWS::KMS::Key": "arn:aws:kms:{region}:{account}:key/{name}",
    "AWS::Lambda::Function": "arn:aws:lambda:{region}:{account}:function:{name}",
    "AWS::Logs::LogGroup": "arn:aws:logs:{region}:{account}:log-group:{name}:*",
    "AWS::S3::Bucket": "arn:aws:s3:::{name}",
    "AWS::SNS::Topic": "arn:aws:sns:{region}:{account}:{name}",
    "AWS::SQS::Queue": "arn:aws:sqs:{region}:{account}:{name}",
    "AWS::SecretsManager::Secret": "arn:aws:secretsmanager:{region}:{account}:secret:{name}-AbCdEf",
    "AWS::StepFunctions::StateMachine": "arn:aws:states:{region}:{account}:stateMachine:{name}",
}
_NAMES: Final = {
    "AWS::DynamoDB::Table": "TableName",
    "AWS::Events::EventBus": "Name",
    "AWS::Events::Rule": "Name",
    "AWS::IAM::Role": "RoleName",
    "AWS::Lambda::Function": "FunctionName",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::S3::Bucket": "BucketName",
    "AWS::SNS::Topic": "TopicName",
    "AWS::SQS::Queue": "QueueName",
    "AWS::SecretsManager::Secret": "Name",
    "AWS::StepFunctions::StateMachine": "StateMachineName",
}
# Types of which `Ref` gives the ARN; of the others it gives the name.
_REF_IS_ARN: Final = {
    *("AWS::IAM::ManagedPolicy", "AWS::SNS::Topic", "AWS::SecretsManager::Secret"),
    "AWS::StepFunctions::StateMachine",
}


class UnknownElementError(Exception):
    """A template holds something that isn't known here; it must not be passed over."""


class References:
    """Resolves references to texts.

    Parameters
    ----------
    resources
        Of the template.
    account, region
        Where it is deployed.
    """

    def __init__(self, resources: Mapping[str, Any], account: str, region: str) -> None:
        self._resources = resources
        self._account = account
        self._region = region
        self._pseudo_parameters = {
            "AWS::AccountId": account,
            "AWS::Region": region,
            "AWS::Partition": "aws",
            "AWS::URLSuffix": "amazonaws.com",
        }

    def has_arn(self, name: str) -> bool:
        """Tell whether the ARN of a resource is known."""
        return self._resources[name]["Type"] in _ARNS

    def arn(self, name: str) -> str:
        """Return the ARN of a resource by its logical id."""
        kind = self._resources[name]["Type"]
        if kind not in _ARNS:
            raise UnknownElementError(f"{kind} has no known ARN ({name})")
        return _ARNS[kind].format(region=self._region, account=self._account, name=self._name(name))

    def texts(self, value: Any) -> tuple[str, ...]:
        """Return the texts of a list, or of what stands for a list of one."""
        return tuple(self.text(each) for each in value) if isinstance(value, (list, tuple)) else (self.text(value),)

    def text(self, value: Any) -> str:  # noqa: PLR0911 - one case an intrinsic function
        """Return a text with its references resolved."""
        match value:
            case str():
                return value
            case bool() | int() | float():
                return str(value).lower()
            case {"Ref": name}:
                return self._reference(name)
            case {"Fn::GetAtt": [name, attribute]}:
                return self._attribute(name, attribute)
            case {"Fn::Join": [separator, parts]}:
                return str(separator).join(self.text(part) for part in parts)
            case {"Fn::Select": [index, {"Fn::Split": [separator, text]}]}:
                return self.text(text).split(separator)[int(index)]
            case {"Fn::Sub": str(text)}:
                return re.sub(r"\$\{([^!}][^}]*)\}", lambda found: self._substitute(found[1]), text)
            case {"Fn::GetStackOutput": {"OutputName": str(output)}} if output.startswith("PublishOutputFnGetAtt"):
                # The ARN of a replica's bucket, or of its key.
                key = f"arn:aws:kms:{self._region}:{self._account}:key/{output}"
                return key if "Key" in output else f"arn:aws:s3:::{output}"
        raise UnknownElementError(f"not a text: {value}")

    def _substitute(self, name: str) -> str:
        logical_id, _, attribute = name.partition(".")
        return self._attribute(logical_id, attribute) if attribute else self._reference(name)

    def _reference(self, name: str) -> str:
        if name in self._pseudo_parameters:
            return self._pseudo_parameters[name]
        if name not in self._resources:
            raise UnknownElementError(f"reference to {name}")
        return self.arn(name) if self._resources[name]["Type"] in _REF_IS_ARN else self._name(name)

    def _attribute(self, name: str, attribute: str) -> str:
        if name not in self._resources or attribute not in {"Arn", "Id", "TopicName", "QueueName", "Name"}:
            raise UnknownElementError(f"attribute {name}.{attribute}")
        return self.arn(name) if attribute in {"Arn", "Id"} else self._name(name)

    def _name(self, name: str) -> str:
        body = self._resources[name]
        given = body.get("Properties", {}).get(_NAMES.get(body["Type"], ""))
        return name if given is None else self.text(given)
