"""What a reviewer reads instead of the template: `python -m imaging_pipeline.operations.review`, run by `make synth`.

Everything is read from the synthesized assembly alone, so it holds for whatever the stage consists of; what has no
words of its own is shown as the template has it.
"""
