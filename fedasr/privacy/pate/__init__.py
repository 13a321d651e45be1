"""Private aggregation of teacher ensembles: what released votes cost (Papernot et al., arXiv 1802.08908)."""
