"""The audit of a course: from what happens in its hub to what its instructors read.

Runs in: hub. `recorder` takes events and gives them to JupyterHub's event log, `sink` writes them down in a thread,
`requests` sees what people do to others, `page` shows them; `sentences` says an event in words, also to operators.
"""
