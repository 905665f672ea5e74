"""Entry point of the CDK app: one stage in, its stack out, and its replica's where it has one."""

from __future__ import annotations

import sys

from aws_cdk import App, Environment

from imaging_pipeline.dependency_layer import LayerError
from imaging_pipeline.stack import ImagingPipelineStack
from imaging_pipeline.stages import StageConfig, StageError, stage_config


def main() -> None:
    """Synthesize the stage that the context names; any of its settings may be overridden by `-c <setting>=<value>`."""
    app = App(analytics_reporting=False)
    context = {name: app.node.try_get_context(name) for name in StageConfig.model_fields}
    overrides = {name: value for name, value in context.items() if value is not None and name != "stage"}
    try:
        config = stage_config(context["stage"], overrides)
        ImagingPipelineStack(
            app, config.name, config=config, env=Environment(account=config.account, region=config.region)
        )
    except (StageError, LayerError) as error:
        sys.exit(str(error))
    app.synth()


if __name__ == "__main__":
    main()
