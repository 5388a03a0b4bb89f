"""The log, its evidence and its reports over HTTP."""
