"""With what the hub does it: one package a family of stores, and the outbound HTTP sender."""
