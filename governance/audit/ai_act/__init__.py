"""Reports under the EU AI Act: Art. 10, 11, 12 and 53."""
