"""Data sets from the net: downloaded, held against their checksums, unpacked."""
