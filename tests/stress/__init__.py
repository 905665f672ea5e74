"""The deployed pipeline under load and with faults: nothing lost, nothing twice. Run by `make stress`."""
