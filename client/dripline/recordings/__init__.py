"""Recordings of real streams: their file format, the recorder and the replay."""
