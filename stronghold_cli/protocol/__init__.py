"""The formats and rules that client and server share. Imports nothing of ours and cannot decrypt."""
