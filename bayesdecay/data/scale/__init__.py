"""The same reduction where the log is too large to come here: on Apache Spark, and in a warehouse as plain SQL.

The one statement is built by :mod:`~bayesdecay.data.scale.reduction` in the words of
:mod:`~bayesdecay.data.scale.dialects`. pyspark is known in this folder alone, and loaded when a log is read with it.
"""
