"""The methods that can be trained: LPD, and what it is compared with."""
