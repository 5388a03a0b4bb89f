"""What texts hold: sieves, expressions and words, and redaction of what they find."""
