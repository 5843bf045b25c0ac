"""Services of a learning management system: grades go there, rosters come from there.

Runs in: hub. Pure: `reasons`, `families`, `targets`, `grades`, `columns`, `links`, `assertions`, `answers`, `members`,
`plan`, `backoff`. With effects: `http`, `access`, `platforms`, `gradebook`, `basic_outcomes` and `rosters` (network),
`outbox` and `roster_store` (database), `delivery`, `sender`, `roster_sync` and
`hub_services` (both).
"""
