"""The stages of the pipeline, in flow order."""
