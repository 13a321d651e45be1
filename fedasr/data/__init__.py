"""Speech data: corpora, features, partitions."""
