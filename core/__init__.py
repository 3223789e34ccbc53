"""What the three stages share: data, settings, runs, files, processes, servers."""
