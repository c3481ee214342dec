"""The formats in which a profile is written, and the files from which one is pushed.

One module per format, writer and reference reader together, registered in ``table``. Nothing is imported here: a pull
loads the one format that it writes.
"""
