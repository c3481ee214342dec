"""Where tokens, account keys, sessions and marks lie on this machine."""
