"""Validation of whole series: a table of rules, each with a name, parameters per medium and a docstring. Pure.

series.py: what a rule is given and what it answers. parameters.py: the numbers, and the file that changes them.
clock_rules.py, counter_rules.py, overlap_rule.py, level_rules.py, zero_rule.py, unit_rule.py, sum_rule.py: the rules.
table.py: all of them, and how they are run. Not here: the judgement of single steps while polling
(services/metering/vee.py), estimation (services/metering/estimation.py), storing.
"""
