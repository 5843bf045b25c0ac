"""Launches from a learning management system: LTI 1.1, LTI 1.3 and Deep Linking 2.0.

Runs in: hub. Pure: `launch`, `lti11`, `registrations`, `login`, `lti13`, `tokens`, `claims`, `roles`, `identity`,
`target`, `deep_linking`, `outcomes`, `documents`, `platforms`, `tickets`.
With effects: `nonces` and `launches` (database), `keys` (files), `jwks` (network), `desk` (all of these), `handlers`
and `method` (a hub's HTTP and login).
"""
