"""The facade for case systems: an officer asks in the own screen, under the same rules as on the pages."""
