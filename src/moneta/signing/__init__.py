"""How bytes are signed: JWS chains, request tokens, webhook headers, Merkle proofs. Pure crypto, no I/O."""
