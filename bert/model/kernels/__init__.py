"""The fused CPU operators: C++ in source/, and their Python interface."""
