"""What agents do: verify the answer to a pull in the order of protocol section 5, and only then open it."""
