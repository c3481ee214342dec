"""What operators do: each act turns the verified state of an org into one commit (protocol sections 5 and 8)."""
