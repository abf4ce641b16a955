"""Advice in words: what a sweep says about the next one, and only what its data bear.

`report.advise` asks every question; each has a file of its own and comes to one `Finding`.
"""
