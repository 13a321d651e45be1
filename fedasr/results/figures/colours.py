"""The colours of figures and pages."""

INK = "#1f2329"
MUTED = "#5c6570"
GRID = "#dfe3e8"
# Okabe and Ito (2008), darkest first; yellow is left out, since a thin line of it vanishes on white.
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
