"""Jobs that embed texts: vectors on the terminal or in files."""
