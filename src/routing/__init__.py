"""The pure core: values in, values out; it never touches the network, the clock, a file or a log.

Read `pipeline.py` first; it is the program in reading order.
"""
