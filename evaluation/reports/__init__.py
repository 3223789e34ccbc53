"""Tables and figures next to the numbers of the paper, and the summary of a run."""
