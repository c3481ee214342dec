"""The server of Stronghold: stores ciphertext, signed documents and the audit log, and imports nothing that decrypts."""
