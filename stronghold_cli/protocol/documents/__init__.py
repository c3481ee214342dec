"""The documents of protocol section 5, one file each: frozen types with strict decoders.

Four kinds are carried in DSSE envelopes: ``org``, ``structure``, ``contents``, ``head``. Four are plain payloads whose
authority is their leaf in the structure: ``agent``, ``group``, ``profile``, ``invite``. ``login`` and ``acceptance`` are the
signed records of section 8.
"""
