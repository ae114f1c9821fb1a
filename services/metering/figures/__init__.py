"""Figures: what stored readings come to, as arithmetic on columns. Pure; where the rows come from is the store's."""
