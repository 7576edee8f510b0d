"""Jobs that write models as files for other programs."""
