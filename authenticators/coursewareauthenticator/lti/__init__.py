"""Launches from a learning management system: LTI 1.1, LTI 1.3 and Deep Linking 2.0, without any web framework.

Runs in: hub. Pure: `launch`, `lti11`, `registrations`, `login`, `lti13`, `tokens`, `claims`, `roles`, `identity`,
`target`, `deep_linking`, `outcomes`, `documents`.
With effects: `nonces` (database), `keys` (files), `jwks` (network).
"""
