"""Entry point of the CDK app: one stage in, its stack out, and its replica's where it has one."""

from __future__ import annotations

import sys

from aws_cdk import App, Environment

from imaging_pipeline.building_blocks.dependency_layer import LayerError
from imaging_pipeline.operations import rule_packs
from imaging_pipeline.stack import ImagingPipelineStack
from imaging_pipeline.stages.definitions import StageError, stage_config


def main() -> None:
    """Synthesize and check the stage that the context names; `-c <setting>=<value>` overrides any of its settings."""
    app = App(analytics_reporting=False)
    # Settings, and names that were meant to be: CDK's own have a colon, a slash or a hyphen.
    context = {name: value for name, value in app.node.get_all_context().items() if name.isidentifier()}
    try:
        config = stage_config(context.pop("stage", None), context)
        ImagingPipelineStack(
            app, config.name, config=config, env=Environment(account=config.account, region=config.region)
        )
        app.synth()
        rule_packs.check(app, config)
    except (StageError, LayerError, rule_packs.UnansweredError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
