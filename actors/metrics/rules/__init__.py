"""The rules for our own events, a module for each package that has some."""
