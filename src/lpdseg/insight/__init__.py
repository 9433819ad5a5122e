"""What a run did, for people: figures and reports."""
