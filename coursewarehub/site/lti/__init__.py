"""LTI at the level of the site: one address for platforms, from which launches find their course.

Runs in: site; `fetch` and `dynamic` also in the command line. Pure: `asked`, `dispatch`, `dynamic`, `pages`.
With effects: `fetch` (network), `endpoints` (HTTP).

Nothing here decides who somebody is. A launch is read as far as it takes to find its course, is believed in nothing,
and goes on to the course's hub, which verifies it.
"""
