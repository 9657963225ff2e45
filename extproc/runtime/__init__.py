"""The shell: sockets, files, clocks, logs and metrics around the pure core. Thin, one job a module."""
