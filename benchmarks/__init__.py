"""Speed: the pipeline beside the floor and beside what users write today."""
