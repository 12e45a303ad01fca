"""Recordings of real streams: the file, what makes one, and its replay."""
