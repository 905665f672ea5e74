"""Use of the zones' keys by roles: by the service that holds what is encrypted, and for no more than it asks KMS."""

from __future__ import annotations

from aws_cdk import Aws
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms


def allow_key(grantee: iam.IGrantable, key: kms.IKey | None, *actions: str, service: str) -> None:
    """Allow actions on a key, where the stage has one, when a service asks for them on behalf of the grantee.

    `kms.Key.grant_*` would also allow to encrypt and decrypt what the key protects anywhere else.

    Parameters
    ----------
    grantee
        Who uses the service.
    key
        Of a zone; None where the services use their own.
    actions
        Such as `Decrypt`.
    service
        First part of its host's name: `s3`, `dynamodb`, `sqs`.
    """
    if key is None:
        return
    grantee.grant_principal.add_to_principal_policy(
        iam.PolicyStatement(
            actions=[f"kms:{action}" for action in actions],
            resources=[key.key_arn],
            conditions={"StringEquals": {"kms:ViaService": f"{service}.{Aws.REGION}.{Aws.URL_SUFFIX}"}},
        )
    )
