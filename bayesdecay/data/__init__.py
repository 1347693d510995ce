"""From an event log to what the models read: events, histories, snapshots.

The way through it: :func:`~bayesdecay.data.events.read_events` checks a log,
:func:`~bayesdecay.data.history.summarize` reduces it to one row a user,
:func:`~bayesdecay.data.snapshots.snapshots` looks at the users as they stood at one or several cutoffs.
"""
