"""IPython in a learner's container."""

c = get_config()  # noqa: F821
# SQLite hangs or breaks on network file systems, where homes may be: the history lasts as long as the container.
c.HistoryManager.hist_file = "/tmp/ipython-history.sqlite"  # noqa: S108
