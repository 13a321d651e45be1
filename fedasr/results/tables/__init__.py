"""Numbers of runs, as DataFrames: curves, comparisons, groups, participation, the price of privacy."""
