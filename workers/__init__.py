"""One file per process, each named by its job."""
