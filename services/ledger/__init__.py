"""The ledger: measures, baselines, savings and money as an append-only book that an auditor can check without us.

Pure, and usable offline: merkle, entry, terms, evidence, metered, levels, baseline, saving, split, assess, statement,
checkpoint, bundle, verify, evaluate. With a database, a network or a disk are the others.
"""
