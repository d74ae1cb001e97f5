"""The proof: the formulas that `explain` prints, executed, and the steps that train held against them."""
