"""What happens around every call: identity, permission, tenant, validation, errors, metrics, logs, deadlines, limits.

The handlers of a servicer are wrapped once, when it is added to the server, so that whatever can be known beforehand
(policy, rules, where the tenant stands) is worked out once and not per call.

gate.py     the order in which it happens, around each kind of handler
rules.py    validation by the rules that stand on the fields of the contract
names.py    every resource name in a request: its form, and which municipality it belongs to
tenancy.py  permission and tenant of a request
"""
