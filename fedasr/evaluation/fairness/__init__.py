"""How error rates differ between groups of speakers: gaps with intervals over speakers, adjusted ratios, power."""
