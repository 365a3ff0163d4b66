"""What values parameters take, and the text that they are written in: all that server and operator both know of it.

The operator refuses what a server would refuse, in its words, and compares its wish with what a server shows; so there
is one parser, with nothing but the standard library and without I/O. ARCHITECTURE.md says who may import it.
"""
