"""Nothing here is a test, and what is imported here would register."""

collect_ignore_glob = ["*.py"]
