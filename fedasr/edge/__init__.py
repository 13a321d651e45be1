"""Edge devices: certificates and keys, and Flower's own SuperLink and SuperNode, started so that strangers stay out."""
