"""Metrics of generated dialogues: Tables 1 and 4, judge agreement, dependency, user quality."""
