"""Starting other programs with secrets in their environment."""
