"""The independent check that translation is faithful: readers and comparisons that share nothing with Tollgate's code."""
