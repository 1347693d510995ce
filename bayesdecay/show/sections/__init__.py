"""The sections of the report, one file each: from the objects of a run to parts of a page."""
