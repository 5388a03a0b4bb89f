"""What is looked for: the tables of detectors, their validators and dictionaries, and a team's own."""
