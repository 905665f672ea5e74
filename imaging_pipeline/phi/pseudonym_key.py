"""The pseudonym key: the secret from which all pseudonyms and date shifts follow."""

from __future__ import annotations

from string import ascii_letters, punctuation
from typing import Final

from aws_cdk import Stack
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from imaging_pipeline.building_blocks.function import PipelineFunction
from imaging_pipeline.building_blocks.zones import Zone
from imaging_pipeline.stages.config import StageConfig

BITS: Final = 256


class PseudonymKey(Construct):
    """256 random bits as 64 hexadecimal digits. Losing them would tear later studies from earlier ones.

    Parameters
    ----------
    zone
        Zone whose key encrypts the secret.
    replica
        Zone of another region that keeps a replica of it; None where there is none.

    Attributes
    ----------
    secret
        The stage's own, or the one that its settings name.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, config: StageConfig, zone: Zone, replica: Zone | None
    ) -> None:
        super().__init__(scope, construct_id)
        self._zone = zone
        self.secret = (
            secretsmanager.Secret.from_secret_complete_arn(self, "Secret", config.pseudonym_key_arn)
            if config.pseudonym_key_arn
            else self._made(config, replica)
        )

    def allow_reading(self, function: PipelineFunction) -> None:
        """Allow a function to read the key."""
        function.allow(["secretsmanager:GetSecretValue"], _arn(self.secret))
        self._zone.allow(function.role, "Decrypt", via="secretsmanager")

    def _made(self, config: StageConfig, replica: Zone | None) -> secretsmanager.Secret:
        replicas = (
            [secretsmanager.ReplicaRegion(region=Stack.of(replica).region, encryption_key=replica.key)]
            if replica
            else None
        )
        return secretsmanager.Secret(
            self,
            "Secret",
            secret_name=f"{config.name}/pseudonym-key",
            description="Key of the pseudonyms and date shifts that de-identification writes",
            encryption_key=self._zone.key,
            generate_secret_string=secretsmanager.SecretStringGenerator(
                password_length=BITS // 4,
                # By character, not by type: the emulator knows no types.
                exclude_characters="".join(sorted(set(ascii_letters + punctuation) - set("abcdef"))),
                require_each_included_type=False,
            ),
            replica_regions=replicas,
            removal_policy=config.removal_policy,
        )


def _arn(secret: secretsmanager.ISecret) -> str:
    """Return a secret's ARN; of the stack's own by its attribute, as the emulator's reference to one is its name."""
    resource = secret.node.default_child
    return resource.attr_id if isinstance(resource, secretsmanager.CfnSecret) else secret.secret_arn
