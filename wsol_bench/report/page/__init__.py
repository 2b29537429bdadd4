"""The page of runs: one HTML file, with the data and the program that shows them."""
