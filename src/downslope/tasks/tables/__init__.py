"""Tables with a target column: CSV, TSV and Parquet files, of any size.

Read ``table.py`` first: the way of a table that fits into memory. ``stream.py`` is that of one that
does not; both sum columns up (``summary.py``) into what is made of them (``columns.py``).
"""
