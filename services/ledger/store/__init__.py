"""The ledger's tables and what is asked of them: measures, entries and the log. No arithmetic of savings."""
