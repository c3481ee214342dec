"""Keys, boxes, seals and passphrases: the only package that imports AEAD, HPKE and key derivation. Does no I/O."""
