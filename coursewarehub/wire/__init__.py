"""What crosses a process boundary: environment names, URL paths, messages.

Runs in: every process. Pure, standard library only: the learner's server imports nothing else of ours.
"""
